// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/checkpoint_count.h"

#include <algorithm>

namespace trainerd {

int64_t CheckpointsAtOnce(const v1::JobConfig& resolved, std::optional<int64_t> total_steps) {
  if (!total_steps.has_value() && resolved.train().has_max_steps())
    total_steps = resolved.train().max_steps();
  const int64_t every = resolved.checkpoint().every_steps();
  // Only at the end.
  if (every == 0) return 1;
  const int64_t kept = int64_t{resolved.checkpoint().keep_last()} + 1;
  if (!total_steps.has_value()) return kept;
  // One per interval, and one at the end.
  return std::clamp<int64_t>((*total_steps + every - 1) / every, 1, kept);
}

}  // namespace trainerd
