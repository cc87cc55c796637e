// SPDX-License-Identifier: Apache-2.0
#include "engine/optim/lr_schedule.h"

#include <algorithm>
#include <cmath>

#include "proto/base/enum_sentinels.h"
#include "proto/base/status_macros.h"

#pragma GCC diagnostic error "-Wswitch"

namespace trainerd::engine {

double LearningRate(const v1::ScheduleConfig& schedule, double peak, int64_t step,
                    int64_t total_steps) {
  const int64_t index = step - 1, warmup = schedule.warmup_steps();
  if (index < warmup)
    return peak * (static_cast<double>(index) / static_cast<double>(std::max<int64_t>(1, warmup)));
  const double decay_steps = static_cast<double>(std::max<int64_t>(1, total_steps - warmup));
  switch (schedule.type()) {
    case v1::ScheduleConfig::TYPE_CONSTANT:
      return peak;
    case v1::ScheduleConfig::TYPE_LINEAR:
      return peak * std::max(0.0, static_cast<double>(total_steps - index) / decay_steps);
    case v1::ScheduleConfig::TYPE_COSINE: {
      // In transformers the cosine rises again after total_steps.
      const double progress = std::min(1.0, static_cast<double>(index - warmup) / decay_steps);
      return peak * std::max(0.0, 0.5 * (1.0 + std::cos(M_PI * progress)));
    }
    case v1::ScheduleConfig::TYPE_UNSPECIFIED:
    case kMinSentinel<v1::ScheduleConfig::Type>:
    case kMaxSentinel<v1::ScheduleConfig::Type>:
      break;
  }
  TRAINERD_CHECK(false);
}

}  // namespace trainerd::engine
