// SPDX-License-Identifier: Apache-2.0
// Publishes the state of a running job as a checkpoint and emits its events.
#pragma once

#include "absl/status/status.h"
#include "engine/train/attempt_context.h"

namespace trainerd::engine {

// Writes and verifies a checkpoint of context.state's step, which becomes context.last_checkpoint;
// emits STARTED, then PUBLISHED or FAILED. Does nothing if context.last_checkpoint is of this step
// already, or if no step was applied. Errors: cause STORAGE with the numbers if it cannot be
// written; earlier checkpoints are intact.
absl::Status SaveCheckpoint(AttemptContext& context);

}  // namespace trainerd::engine
