// SPDX-License-Identifier: Apache-2.0
// Learning rate of a step as a pure function: no state to save. Formulas of transformers'
// get_*_schedule_with_warmup, whose first update has index 0: with a warm-up, update 1 has learning
// rate 0. No LibTorch.
#pragma once

#include <cstdint>

#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// `step` counts from 1; after total_steps the decaying schedules stay 0. `schedule` is resolved.
double LearningRate(const v1::ScheduleConfig& schedule, double peak, int64_t step,
                    int64_t total_steps);

}  // namespace trainerd::engine
