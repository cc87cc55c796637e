// SPDX-License-Identifier: Apache-2.0
// A folder is renamed into the trash before it is removed, so that a partly removed folder is never
// taken for a checkpoint.
#include "server/ledger/disk/checkpoint_scan.h"

#include <errno.h>
#include <sys/stat.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/read_error.h"

namespace trainerd::server {
namespace {

constexpr char kCheckpoints[] = "/checkpoints";
constexpr char kTrash[] = "/.trash";

absl::StatusOr<Manifest> ReadManifestNow(const std::string& folder) {
  absl::StatusOr<Manifest> manifest = absl::UnknownError("not read");
  const absl::Status status = ConfirmCorruption({absl::StrCat(folder, "/", kManifestName)}, [&] {
    manifest = ReadManifest(folder);
    return manifest.status();
  });
  if (!status.ok()) return status;
  return manifest;
}

absl::Status VerifyNow(const std::string& folder, const Manifest& manifest) {
  return ConfirmCorruption(ManifestPaths(folder), [&] { return VerifyFolder(folder, manifest); });
}

absl::Status QuickCheckOnce(const v1::Checkpoint& checkpoint) {
  RETURN_IF_ERROR(CheckManifestDigest(checkpoint));
  ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(checkpoint.path()));
  for (const auto& [name, file] : manifest.files) {
    const std::string path = absl::StrCat(checkpoint.path(), "/", name);
    struct stat info;
    if (stat(path.c_str(), &info) != 0) {
      const absl::Status status = ErrnoStatus(errno, "size of " + path);
      return absl::IsNotFound(status) ? status : InconclusiveReadError(status);
    }
    if (info.st_size != file.size_bytes) {
      return absl::DataLossError(
          absl::StrCat(name, " has ", info.st_size, " bytes instead of ", file.size_bytes));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckManifestDigest(const v1::Checkpoint& checkpoint) {
  ASSIGN_OR_RETURN(const std::string digest, ManifestDigest(checkpoint.path()));
  if (checkpoint.manifest_digest().empty() || digest == checkpoint.manifest_digest())
    return absl::OkStatus();
  return absl::DataLossError("its manifest differs from the published one");
}

absl::StatusOr<std::vector<FoundCheckpoint>> ScanCheckpoints(const std::string& run_dir) {
  std::vector<FoundCheckpoint> found;
  const std::string folder = run_dir + kCheckpoints;
  absl::StatusOr<std::vector<std::string>> names = ListDirectory(folder);
  if (absl::IsNotFound(names.status())) return found;
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    // Unfinished: the rename to a name without the dot makes it a checkpoint.
    if (name.empty() || name.front() == '.') continue;
    const std::string path = folder + "/" + name;
    absl::StatusOr<Manifest> manifest = ReadManifestNow(path);
    if (!manifest.ok() && IsConclusive(manifest.status())) continue;
    if (!manifest.ok()) return Annotate(manifest.status(), "checkpoint ", path);
    absl::StatusOr<std::string> digest = ManifestDigest(path);
    if (!digest.ok()) return InconclusiveReadError(digest.status());
    found.push_back({.id = name,
                     .path = path,
                     .manifest = *std::move(manifest),
                     .manifest_digest = *std::move(digest)});
  }
  return found;
}

absl::Status VerifyCheckpoint(const FoundCheckpoint& found) {
  return VerifyNow(found.path, found.manifest);
}

absl::Status VerifyCheckpoint(const v1::Checkpoint& checkpoint,
                              const std::function<bool()>& is_cancelled, std::string* file) {
  const std::string& folder = checkpoint.path();
  *file = kManifestName;
  ASSIGN_OR_RETURN(const Manifest manifest, ReadManifestNow(folder));
  RETURN_IF_ERROR(ConfirmCorruption({absl::StrCat(folder, "/", kManifestName)},
                                    [&] { return CheckManifestDigest(checkpoint); }));
  for (const auto& [name, entry] : manifest.files) {
    *file = name;
    Manifest one;
    one.files[name] = entry;
    RETURN_IF_ERROR(ConfirmCorruption({absl::StrCat(folder, "/", name)},
                                      [&] { return VerifyFolder(folder, one, is_cancelled); }));
  }
  file->clear();
  return absl::OkStatus();
}

absl::Status QuickCheckCheckpoint(const v1::Checkpoint& checkpoint) {
  return ConfirmCorruption({absl::StrCat(checkpoint.path(), "/", kManifestName)},
                           [&] { return QuickCheckOnce(checkpoint); });
}

absl::StatusOr<Manifest> VerifyFinal(const std::string& final_dir) {
  ASSIGN_OR_RETURN(Manifest manifest, ReadManifestNow(final_dir));
  RETURN_IF_ERROR(VerifyNow(final_dir, manifest));
  return manifest;
}

std::string FinalModelAdvice(const std::string& run_dir) {
  v1::Checkpoint final_model;
  final_model.set_path(absl::StrCat(run_dir, "/final"));
  if (!QuickCheckCheckpoint(final_model).ok()) return "";
  return absl::StrCat("start from the weights of its final model: set init_from.checkpoint to ",
                      final_model.path(), " and init_from.state to weights");
}

absl::Status RemoveCheckpoint(const std::string& run_dir, const std::string& id) {
  if (id.empty() || id.front() == '.' || id.find('/') != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat("\"", id, "\" is not a checkpoint id"));
  }
  return RemoveThrough(absl::StrCat(run_dir, kCheckpoints, "/", id),
                       absl::StrCat(run_dir, kTrash, "/", id));
}

absl::Status EmptyTrash(const std::string& run_dir) { return RemoveAll(run_dir + kTrash); }

absl::Status RemoveRunDirectory(const std::string& run_dir) {
  const size_t slash = run_dir.find_last_of('/');
  return RemoveThrough(run_dir,
                       absl::StrCat(run_dir.substr(0, slash), kTrash, run_dir.substr(slash)));
}

}  // namespace trainerd::server
