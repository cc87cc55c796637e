// SPDX-License-Identifier: Apache-2.0
// Learning rate of a step as a pure function: no state to save. Formulas of transformers' get_*
// schedules, whose first update has index 0: with a warm-up, update 1 has learning rate 0, or
// min_ratio × the peak with warmup_stable_decay. No LibTorch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// `step` counts from 1. After total_steps, the schedules that end there stay at min_ratio × the
// peak, linear at 0. `schedule` is resolved.
double LearningRate(const v1::ScheduleConfig& schedule, double peak, int64_t step,
                    int64_t total_steps);

// The groups of parameters that have a peak of their own: "muon" and "adamw", or the type of the
// optimizer alone. The first has optimizer.learning_rate.
std::vector<std::string> LearningRateGroups(const v1::OptimizerConfig& optimizer);

std::vector<double> LearningRatePeaks(const v1::OptimizerConfig& optimizer);

// The learning rate of each of these groups; all follow the schedule. `config` is resolved.
std::vector<double> LearningRates(const v1::JobConfig& config, int64_t step, int64_t total_steps);

}  // namespace trainerd::engine
