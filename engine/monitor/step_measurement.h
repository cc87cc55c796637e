// SPDX-License-Identifier: Apache-2.0
// What the training loop measures at a step, and what the monitor carries from step to step.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "trainerd/v1/event.pb.h"

namespace trainerd::engine {

// One optimizer step as the training loop measured it. An absent value was not measured.
struct StepMeasurement {
  int64_t step = 0;                     // 1-based
  std::optional<double> epoch;          // epochs completed once the step is applied
  std::optional<double> loss;           // mean over the step's target tokens, nats
  std::optional<double> grad_norm;      // global L2 norm before clipping
  std::optional<double> learning_rate;  // in force at this step, of the first group of parameters
  std::map<std::string, double> learning_rates;  // of each group; empty where there is one
  int64_t tokens = 0;                            // computed in this step, counted, no padding
  int64_t target_tokens = 0;                     // of these: carried loss
  double step_seconds = 0;                       // by a monotonic clock
  std::optional<int64_t> memory_bytes;           // of the device in use
  std::optional<int64_t> memory_peak_bytes;
  std::optional<v1::PreferenceMetrics> preference;
};

// The lowest validation loss so far.
struct BestValidation {
  double loss = 0;  // nats
  int64_t step = 0;
};

// Below this loss (nats) a task is as good as solved. Noise is then large in proportion, and no
// alert about the loss is raised.
inline constexpr double kNearZeroLoss = 0.3;

// The state of PlateauRule.
struct PlateauState {
  // The block in progress, and the mean loss of the one before.
  double block_sum = 0;
  int64_t block_count = 0;
  std::optional<double> block_before;
  // Mean loss when the alert was raised, and the standard deviation of the losses around it if the
  // quick rule raised it.
  std::optional<double> level;
  std::optional<double> deviation;
};

// The state that alerts of later steps depend on. A checkpoint keeps it, so that a resumed job
// raises and clears the same loss alerts as an uninterrupted one.
struct MonitorState {
  std::vector<double> losses;              // the newest ones, oldest first
  std::vector<std::string> active_alerts;  // types that are raised
  std::optional<double> spike_reference;   // loss level that a raised loss_spike compares with
  std::vector<double> start_losses;        // the first ones of the job, oldest first
  std::optional<BestValidation> best_validation;
  PlateauState plateau;
  // Type → step at which it was cleared last.
  std::map<std::string, int64_t> cleared_steps;
};

}  // namespace trainerd::engine
