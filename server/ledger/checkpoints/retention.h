// SPDX-License-Identifier: Apache-2.0
// Retention: which checkpoints of a job stay and which are removed, with the reason. One pure
// function, for the removal after each published checkpoint and for CollectGarbage.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/store/rows/run_rows.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::server {

enum class RetentionReason {
  // Kept, whatever the rules say.
  kNewest,
  kBest,
  kPinned,
  kInUse,
  // Kept or removed by checkpoint.keep_last, keep_every_steps or max_bytes.
  kRetention,
  // Removed: expire_time or checkpoint.ttl.
  kExpired,
};
// "NEWEST", as in CollectGarbageResponse.
const char* RetentionReasonName(RetentionReason reason);

struct RetentionInput {
  // Of the job, newest first; deleted ones are ignored.
  std::vector<CheckpointRow> rows;
  v1::CheckpointConfig rules;
  // Name of the newest verified checkpoint on the lineage; empty: none.
  std::string resume_point;
  // Job.best_checkpoint, and the ranks that keep_best counts (RankByBest).
  std::string best;
  std::vector<std::string> ranked;
  // Names that an attempt, a job, an evaluation or a download uses.
  std::set<std::string> in_use;
  // The job is in a terminal state: checkpoint.ttl applies.
  bool ended = false;
  absl::Time now;
};

struct RetentionItem {
  v1::Checkpoint checkpoint;
  bool removed = false;
  RetentionReason reason = RetentionReason::kRetention;
};
// In the order of the rows.
std::vector<RetentionItem> DecideRetention(const RetentionInput& input);

// The next time at which the passing of time alone may let a checkpoint expire, for one that is
// kept now; InfiniteFuture: never. Pure.
absl::Time NextExpiry(const v1::Checkpoint& checkpoint, const v1::CheckpointConfig& rules,
                      bool ended);

}  // namespace trainerd::server
