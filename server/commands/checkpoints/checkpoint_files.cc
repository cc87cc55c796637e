// SPDX-License-Identifier: Apache-2.0
#include "server/commands/checkpoints/checkpoint_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/crc32c.h"
#include "proto/base/directory.h"
#include "proto/base/fd.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_violation.h"
#include "proto/contract/job/names.h"
#include "proto/contract/run_dir/manifest.h"
#include "server/commands/request.h"
#include "server/ledger/checkpoints/load_checkpoint.h"
#include "server/ledger/disk/checkpoint_scan.h"
#include "server/store/errors.h"
#include "server/store/rows/job_rows.h"

namespace trainerd::server {
namespace {

absl::Status WasDeleted(const std::string& model) {
  return ErrorWithReason(absl::StatusCode::kFailedPrecondition, "CHECKPOINT_DELETED",
                         absl::StrCat(model, " was deleted; `trainctl checkpoints ls ",
                                      JobId(model), "` lists the checkpoints that are left"));
}

// Opens a plain file; never follows a link. `size_bytes` gets its size.
absl::StatusOr<Fd> OpenPlainFile(const std::string& path, int64_t* size_bytes) {
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file.is_open()) return ErrnoStatus(errno, "open " + path);
  struct stat info;
  if (::fstat(file.get(), &info) != 0) return ErrnoStatus(errno, "stat " + path);
  if (!S_ISREG(info.st_mode))
    return absl::DataLossError(absl::StrCat(path, " is not a plain file"));
  *size_bytes = info.st_size;
  return file;
}

absl::Status ReadAt(int fd, const std::string& path, int64_t offset, std::string* data) {
  size_t filled = 0;
  while (filled < data->size()) {
    const ssize_t got = ::pread(fd, data->data() + filled, data->size() - filled,
                                offset + static_cast<int64_t>(filled));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, "read " + path);
    if (got == 0) return absl::DataLossError(absl::StrCat(path, " became shorter"));
    filled += static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::Checkpoint> CheckpointFiles::FindModel(const std::string& model) {
  return store_.Read([&](Connection& db) -> absl::StatusOr<v1::Checkpoint> {
    if (!IsFinalName(model)) {
      ASSIGN_OR_RETURN(CheckpointRow row, LoadCheckpoint(db, model));
      return std::move(row.checkpoint);
    }
    ASSIGN_OR_RETURN(const JobRecord record, LoadJob(db, JobId(model)));
    const std::string folder = absl::StrCat(record.job.run_dir(), "/final");
    if (PathExists(absl::StrCat(folder, "/", kManifestName))) {
      v1::Checkpoint final_model;
      final_model.set_path(folder);
      return final_model;
    }
    return ErrorWithReason(
        absl::StatusCode::kNotFound, "CHECKPOINT_NOT_FOUND",
        absl::StrCat(model, " does not exist; a job has a final model once it has SUCCEEDED"));
  });
}

absl::StatusOr<CheckpointFiles::File> CheckpointFiles::Find(
    const v1::DownloadCheckpointRequest& request) {
  RETURN_IF_ERROR(CheckRequest(request));
  const std::optional<std::string> model = ParseModelName(request.name());
  if (!model.has_value() || IsStartName(*model)) {
    return WithReason(
        BadField("name", absl::StrCat(Quoted(request.name()),
                                      " is not the name of a checkpoint or a final model; use "
                                      "jobs/ID/checkpoints/CHECKPOINT or jobs/ID/final")),
        "INVALID_NAME");
  }
  if (request.offset() < 0) {
    return BadField("offset", absl::StrCat(request.offset(), " is negative; use 0 or more"));
  }
  ASSIGN_OR_RETURN(const v1::Checkpoint found, FindModel(*model));
  const std::string& folder = found.path();
  in_use_.Touch(*model);
  const std::string& name = request.file().empty() ? kManifestName : request.file();
  File file{.model = *model, .path = absl::StrCat(folder, "/", name)};
  if (name == kManifestName) {
    // The client compares all other files with the manifest.
    const absl::Status same = CheckManifestDigest(found);
    if (absl::IsNotFound(same)) return WasDeleted(*model);
    if (absl::IsDataLoss(same)) {
      return ErrorWithReason(
          absl::StatusCode::kDataLoss, "CHECKPOINT_DAMAGED",
          absl::StrCat(*model, ": ", std::string(same.message()), "; use another checkpoint"));
    }
    RETURN_IF_ERROR(same);
  } else {
    const absl::StatusOr<Manifest> manifest = ReadManifest(folder);
    if (absl::IsNotFound(manifest.status())) return WasDeleted(*model);
    if (!manifest.ok()) return manifest.status();
    if (manifest->files.count(name) == 0) {
      return ErrorWithReason(
          absl::StatusCode::kNotFound, "FILE_NOT_FOUND",
          absl::StrCat(*model, " has no file ", Quoted(name), "; MANIFEST.json lists its files"));
    }
  }
  const absl::StatusOr<Fd> opened = OpenPlainFile(file.path, &file.size_bytes);
  if (absl::IsNotFound(opened.status())) return WasDeleted(*model);
  if (!opened.ok()) return opened.status();
  if (request.offset() > file.size_bytes) {
    return absl::OutOfRangeError(absl::StrCat("offset ", request.offset(), " is beyond the end of ",
                                              name, ", which has ", file.size_bytes, " bytes"));
  }
  return file;
}

absl::Status CheckpointFiles::Read(const File& file, int64_t offset, v1::FileChunk* chunk) {
  in_use_.Touch(file.model);
  int64_t size = 0;
  const absl::StatusOr<Fd> opened = OpenPlainFile(file.path, &size);
  if (absl::IsNotFound(opened.status())) return WasDeleted(file.model);
  if (!opened.ok()) return opened.status();
  if (size != file.size_bytes)
    return absl::DataLossError(absl::StrCat(file.path, " changed its size while it was read"));
  std::string* data = chunk->mutable_data();
  data->resize(static_cast<size_t>(std::min(kMaxChunkBytes, size - offset)));
  RETURN_IF_ERROR(ReadAt(opened->get(), file.path, offset, data));
  chunk->set_offset(offset);
  chunk->set_crc32c(Crc32c(*data));
  chunk->set_file_bytes(size);
  return absl::OkStatus();
}

}  // namespace trainerd::server
