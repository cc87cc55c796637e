// SPDX-License-Identifier: Apache-2.0
// Learning rate of a step as a pure function: no state to save. Formulas of transformers' get_*
// schedules, whose first update has index 0: with a warm-up, update 1 has learning rate 0, or
// min_ratio × the peak with warmup_stable_decay. No LibTorch.
#pragma once

#include <cstdint>

#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// `step` counts from 1. After total_steps, the schedules that end there stay at min_ratio × the
// peak, linear at 0. `schedule` is resolved.
double LearningRate(const v1::ScheduleConfig& schedule, double peak, int64_t step,
                    int64_t total_steps);

}  // namespace trainerd::engine
