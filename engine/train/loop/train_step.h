// SPDX-License-Identifier: Apache-2.0
// One optimizer step: microbatches → gradients → norm → finite? → AdamW. Reads nothing but (step,
// data, weights): repeating a step from the same state gives the same bytes.
#pragma once

#include <cmath>
#include <cstdint>

#include "absl/status/status.h"
#include "engine/train/attempt_context.h"

namespace trainerd::engine {

struct StepResult {
  double loss = 0;       // mean over the step's target tokens, nats
  double grad_norm = 0;  // before clipping
  double learning_rate = 0;
  double epoch = 0;  // completed once the step is applied
  int64_t tokens = 0;
  int64_t target_tokens = 0;

  bool IsFinite() const { return std::isfinite(loss) && std::isfinite(grad_norm); }
};

// Applies step `step` (1-based) to run.parameters and run.optimizer; one host sync. `result` holds
// what was measured, also for a step that is not finite. Errors: Cancelled between microbatches
// when a discard is wanted; cause NUMERICS when loss or gradient is not finite. In both the weights
// and the optimizer's state are those before the step.
absl::Status TrainStep(AttemptContext& context, int64_t step, StepResult* result);

}  // namespace trainerd::engine
