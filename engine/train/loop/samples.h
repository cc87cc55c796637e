// SPDX-License-Identifier: Apache-2.0
// The greedy answers that a job emits while it trains.
#pragma once

#include "absl/status/status.h"
#include "engine/train/attempt_context.h"

namespace trainerd::engine {

// Answers every prompt and emits one SampleText for each. Errors: Cancelled if a pause, stop or
// discard is requested; the answers so far are emitted.
absl::Status EmitSamples(AttemptContext& context);

}  // namespace trainerd::engine
