// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/run_dir/output_path.h"

#include <limits.h>
#include <sys/stat.h>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/manifest.h"

namespace trainerd {
namespace {

// Of the files in it.
constexpr size_t kLongestFileName = NAME_MAX + 1;

absl::Status CheckNames(const std::string& path) {
  if (path.size() > PATH_MAX - kLongestFileName) {
    return absl::InvalidArgumentError(
        absl::StrCat("it has ", path.size(), " bytes; the limit is ", PATH_MAX - kLongestFileName));
  }
  for (const absl::string_view name : absl::StrSplit(path, '/')) {
    if (name.size() <= NAME_MAX) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("one of its names has ", name.size(), " bytes; the limit is ", NAME_MAX));
  }
  return absl::OkStatus();
}

// By the files that only such a folder holds.
bool IsStateOrRunDirectory(const std::string& folder) {
  const auto holds = [&](const char* name) {
    return NameExists(absl::StrCat(folder == "/" ? "" : folder, "/", name));
  };
  return holds("trainerd.lock") || (holds("run.lock") && holds("publisher"));
}

absl::Status CheckPlace(const std::string& path) {
  const std::string real = ResolveLinks(path);
  for (const char* forbidden : {"/proc", "/sys"}) {
    if (IsWithin(real, forbidden))
      return absl::FailedPreconditionError(absl::StrCat("it is in ", forbidden));
  }
  std::string folder = real;
  do {
    folder = ParentOf(folder);
    if (!IsStateOrRunDirectory(folder)) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("it is in ", folder, ", which only trainerd itself may write to"));
  } while (folder != "/");
  return absl::OkStatus();
}

absl::Status CheckCanBeCreated(const std::string& path) {
  RETURN_IF_ERROR(CheckNames(path));
  RETURN_IF_ERROR(CheckPlace(path));
  return NameExists(path) ? absl::OkStatus() : CheckCreatable(path);
}

}  // namespace

absl::Status CheckOutputPath(const std::string& path, const std::string& job) {
  if (const absl::Status status = CheckCanBeCreated(path); !status.ok()) {
    return absl::Status(status.code(), absl::StrCat(path, " cannot be created (", status.message(),
                                                    "); choose a folder that can be created"));
  }
  if (!NameExists(path)) return absl::OkStatus();
  const absl::StatusOr<Manifest> manifest = ReadManifest(path);
  if (manifest.ok() && manifest->job == job && manifest->kind == "final") return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      path, " already exists; choose a folder that does not exist, or move this one away"));
}

}  // namespace trainerd
