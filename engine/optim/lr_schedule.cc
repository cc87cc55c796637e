// SPDX-License-Identifier: Apache-2.0
#include "engine/optim/lr_schedule.h"

#include <algorithm>
#include <cmath>

namespace trainerd::engine {

double LearningRate(const LrSchedule& schedule, double peak, int64_t step, int64_t total_steps) {
  const int64_t index = step - 1, warmup = schedule.warmup_steps;
  if (index < warmup)
    return peak * (static_cast<double>(index) / static_cast<double>(std::max<int64_t>(1, warmup)));
  const double decay_steps = static_cast<double>(std::max<int64_t>(1, total_steps - warmup));
  switch (schedule.type) {
    case LrSchedule::Type::kConstant:
      return peak;
    case LrSchedule::Type::kLinear:
      return peak * std::max(0.0, static_cast<double>(total_steps - index) / decay_steps);
    case LrSchedule::Type::kCosine: {
      // transformers lets the cosine rise again behind total_steps; a run never gets there, an
      // evaluation of the schedule must not.
      const double progress = std::min(1.0, static_cast<double>(index - warmup) / decay_steps);
      return peak * std::max(0.0, 0.5 * (1.0 + std::cos(M_PI * progress)));
    }
  }
  return peak;
}

}  // namespace trainerd::engine
