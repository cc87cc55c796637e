// SPDX-License-Identifier: Apache-2.0
// Waits at the end of a step until the next checkpoint has space, so that a full disk costs time
// and no steps. While it waits, the condition DiskLow is active with reason WAITING.
#pragma once

#include "absl/status/status.h"
#include "engine/train/attempt_context.h"

namespace trainerd::engine {

// Returns once there is space in the run directory for a checkpoint (SpaceForCheckpoint) of the
// size of the last one, or of the expected size, or a pause, stop or discard is requested: a
// checkpoint is then tried with the space that there is. Returns at once if the free space is
// unknown.
void WaitForSpace(AttemptContext& context);

}  // namespace trainerd::engine
