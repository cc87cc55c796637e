// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/run_folder.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/base/directory.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

// Names in a directory; none if it does not exist.
absl::StatusOr<std::vector<std::string>> Names(const std::string& folder) {
  absl::StatusOr<std::vector<std::string>> names = ListDirectory(folder);
  if (absl::IsNotFound(names.status())) return std::vector<std::string>();
  return names;
}

}  // namespace

std::string CheckpointsFolder(const std::string& run_dir) {
  return absl::StrCat(run_dir, "/checkpoints");
}

std::string FinalFolder(const std::string& run_dir) { return absl::StrCat(run_dir, "/final"); }

absl::Status RemoveTemporaries(const std::string& run_dir, int32_t attempt) {
  for (const std::string& folder : {run_dir, CheckpointsFolder(run_dir)}) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, Names(folder));
    for (const std::string& name : names) {
      const std::optional<int32_t> writer = TemporaryAttempt(name);
      if (!writer.has_value() || *writer > attempt) continue;
      RETURN_IF_ERROR(RemoveAll(absl::StrCat(folder, "/", name)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<FoundCheckpoint>> ListCheckpoints(const std::string& run_dir) {
  const std::string folder = CheckpointsFolder(run_dir);
  ASSIGN_OR_RETURN(const std::vector<std::string> names, Names(folder));
  std::vector<FoundCheckpoint> found;
  for (const std::string& name : names) {
    const std::optional<CheckpointId> id = ParseCheckpointName(name);
    if (!id.has_value()) continue;
    const std::string path = absl::StrCat(folder, "/", name);
    absl::StatusOr<Manifest> manifest = ReadManifest(path);
    if (!manifest.ok() || manifest->step != id->step || manifest->attempt != id->attempt) continue;
    found.push_back({*id, path, *std::move(manifest)});
  }
  std::sort(found.begin(), found.end(), [](const FoundCheckpoint& a, const FoundCheckpoint& b) {
    if (a.id.attempt != b.id.attempt) return a.id.attempt > b.id.attempt;
    return a.id.step > b.id.step;
  });
  return found;
}

absl::StatusOr<std::optional<FoundCheckpoint>> FindResumePoint(const std::string& run_dir,
                                                               std::vector<std::string>* skipped) {
  ASSIGN_OR_RETURN(std::vector<FoundCheckpoint> found, ListCheckpoints(run_dir));
  for (FoundCheckpoint& checkpoint : found) {
    const absl::Status verified = VerifyFolder(checkpoint.path, checkpoint.manifest);
    if (verified.ok()) return std::make_optional(std::move(checkpoint));
    skipped->push_back(absl::StrCat(checkpoint.path, ": ", verified.message()));
  }
  return std::nullopt;
}

absl::Status PruneCheckpoints(const std::string& run_dir, int32_t keep_last) {
  ASSIGN_OR_RETURN(const std::vector<FoundCheckpoint> found, ListCheckpoints(run_dir));
  for (size_t i = std::max<int32_t>(keep_last, 1); i < found.size(); ++i) {
    // By way of a temporary name: a partly removed checkpoint must not look like one.
    RETURN_IF_ERROR(RemoveThrough(
        found[i].path, absl::StrCat(CheckpointsFolder(run_dir), "/",
                                    TemporaryName(found[i].id.attempt,
                                                  absl::StrCat("removed-", found[i].id.step)))));
  }
  return absl::OkStatus();
}

}  // namespace trainerd::engine
