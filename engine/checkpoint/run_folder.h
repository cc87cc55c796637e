// SPDX-License-Identifier: Apache-2.0
// A run directory from the worker's side: its paths, temporary files of dead attempts, and (for a
// worker without a daemon) the resume point and retention. The daemon keeps its own ledger. Locks
// and the fence: proto/contract/run_dir/attempt_files.h.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/checkpoint/checkpoint_name.h"
#include "proto/contract/run_dir/manifest.h"

namespace trainerd::engine {

std::string CheckpointsFolder(const std::string& run_dir);
std::string FinalFolder(const std::string& run_dir);

// Removes the temporary folders of attempts up to and including `attempt` in the run directory and
// in checkpoints/.
absl::Status RemoveTemporaries(const std::string& run_dir, int32_t attempt);

struct FoundCheckpoint {
  CheckpointId id;
  std::string path;
  Manifest manifest;
};
// Every folder of checkpoints/ that has a readable manifest and the name that matches it, newest
// first: by attempt, then step. A later attempt always continued from the newest checkpoint, so
// that order is the lineage.
absl::StatusOr<std::vector<FoundCheckpoint>> ListCheckpoints(const std::string& run_dir);
// First of ListCheckpoints whose files match their manifest. Adds one line to `skipped` for each
// damaged checkpoint before it.
absl::StatusOr<std::optional<FoundCheckpoint>> FindResumePoint(const std::string& run_dir,
                                                               std::vector<std::string>* skipped);
// Removes all but the newest `keep_last`. For a worker without a daemon.
absl::Status PruneCheckpoints(const std::string& run_dir, int32_t keep_last);

}  // namespace trainerd::engine
