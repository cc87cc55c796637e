// SPDX-License-Identifier: Apache-2.0
// One optimizer step: microbatches → gradients → norm → finite? → optimizer. It depends only on
// (step, data, weights), so repeating a step from the same state gives the same bytes.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "engine/train/attempt_context.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::engine {

struct StepResult {
  double loss = 0;       // mean over the step's target tokens, nats; with preference over its pairs
  double grad_norm = 0;  // before clipping
  // Of each group of parameters (LearningRateGroups).
  std::vector<double> learning_rates;
  double epoch = 0;  // position in the data after the step
  int64_t tokens = 0;
  int64_t target_tokens = 0;
  std::optional<v1::PreferenceMetrics> preference;

  bool IsFinite() const { return std::isfinite(loss) && std::isfinite(grad_norm); }
};

// Applies step `step` (1-based) to context.parameters and context.optimizer; one host sync. Fills
// in `result`, also for a non-finite step. Errors: Cancelled between microbatches if a discard is
// requested; cause NUMERICS if loss or gradient is not finite. After both, weights and optimizer
// state are those before the step.
absl::Status TrainStep(AttemptContext& context, int64_t step, StepResult* result);

}  // namespace trainerd::engine
