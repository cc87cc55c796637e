// SPDX-License-Identifier: Apache-2.0
// A run directory as the worker sees it: its paths, left-overs of dead attempts, and (for a worker
// without a daemon) the resume point and retention. The daemon keeps its own ledger. Locks and the
// fence: proto/contract/run_dir/attempt_files.h.
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

// Removes what attempts up to and including `attempt` left under temporary names in the run
// directory and in checkpoints/.
absl::Status RemoveTemporaries(const std::string& run_dir, int32_t attempt);

struct FoundCheckpoint {
  CheckpointId id;
  std::string path;
  Manifest manifest;
};
// Every folder of checkpoints/ that has a readable manifest and the name that the manifest says,
// newest first: by attempt, then step. A later attempt always continued from what was then the tip,
// so that order is the current line.
absl::StatusOr<std::vector<FoundCheckpoint>> ListCheckpoints(const std::string& run_dir);
// First of ListCheckpoints whose files equal their manifest; `skipped` gets one line for each
// damaged one in front of it.
absl::StatusOr<std::optional<FoundCheckpoint>> FindResumePoint(const std::string& run_dir,
                                                               std::vector<std::string>* skipped);
// Removes all but the newest `keep_last`. For a worker without a daemon.
absl::Status PruneCheckpoints(const std::string& run_dir, int32_t keep_last);

}  // namespace trainerd::engine
