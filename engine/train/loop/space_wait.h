// SPDX-License-Identifier: Apache-2.0
// Waits at the end of a step until the next checkpoint has space, so that a full disk costs time
// and no steps. While it waits, the condition DiskLow is active with reason WAITING.
#pragma once

#include "absl/status/status.h"
#include "engine/train/attempt_context.h"

namespace trainerd::engine {

// Returns once 1.2 times context.last_checkpoint is free in the run directory, or a pause, stop or
// discard is requested: a checkpoint is then tried with the space that there is. Returns at once if
// there is no earlier checkpoint or the free space is unknown.
void WaitForSpace(AttemptContext& context);

}  // namespace trainerd::engine
