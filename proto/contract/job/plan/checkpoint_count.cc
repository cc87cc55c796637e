// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/plan/checkpoint_count.h"

#include <algorithm>

#include "absl/strings/match.h"

namespace trainerd {
namespace {

// How many intervals begin before the last step; 0 without intervals.
int64_t Intervals(int64_t total_steps, int64_t every) {
  return every == 0 ? 0 : (total_steps + every - 1) / every;
}

}  // namespace

int64_t CheckpointsAtOnce(const v1::JobConfig& resolved, std::optional<int64_t> total_steps) {
  if (!total_steps.has_value() && resolved.train().has_max_steps())
    total_steps = resolved.train().max_steps();
  const v1::CheckpointConfig& rules = resolved.checkpoint();
  const v1::EvaluationConfig& evaluation = resolved.evaluation();
  const bool writes_best =
      evaluation.has_best() && absl::StartsWith(evaluation.best().metric(), "eval.");
  // Only at the end.
  if (rules.every_steps() == 0 && !writes_best) return 1;
  int64_t kept = int64_t{rules.keep_last()} + 1;
  if (evaluation.has_best()) kept += std::max<int64_t>(1, rules.keep_best());
  if (!total_steps.has_value()) return kept;
  if (rules.keep_every_steps() > 0) kept += *total_steps / rules.keep_every_steps();
  // One at the end, one per interval, and at most one per evaluation.
  int64_t written = Intervals(*total_steps, rules.every_steps());
  if (writes_best) written += Intervals(*total_steps, evaluation.every_steps());
  return std::clamp<int64_t>(written, 1, kept);
}

}  // namespace trainerd
