// SPDX-License-Identifier: Apache-2.0
// Learning rate of a step as a pure function: no state to save. Formulas of transformers'
// get_*_schedule_with_warmup, whose first update has index 0: with a warm-up, update 1 has learning
// rate 0. No LibTorch.
#pragma once

#include <cstdint>

namespace trainerd::engine {

struct LrSchedule {
  enum class Type { kConstant, kLinear, kCosine };
  Type type = Type::kCosine;
  int64_t warmup_steps = 0;
};

// `step` counts from 1; after total_steps the decaying schedules stay 0.
double LearningRate(const LrSchedule& schedule, double peak, int64_t step, int64_t total_steps);

}  // namespace trainerd::engine
