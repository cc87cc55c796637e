// SPDX-License-Identifier: Apache-2.0
// The stage CheckRunIdentity: may this attempt run, and does it continue what it says it continues?
#pragma once

#include "absl/status/status.h"
#include "engine/train/attempt_context.h"

namespace trainerd::engine {

// Checks the fence and the output path, opens the device, verifies the checkpoint to start from and
// compares its configuration with the job's. A resume allows another max_steps or epochs (said in a
// Notice) and no other difference that changes the numbers; init_from allows any and says them.
// Fills in run.device, run.environment, run.start and run.weights_folder. Errors:
// FailedPrecondition naming the fields with both values.
absl::Status CheckRunIdentity(AttemptContext& context);

// The same for the data, once it is prepared.
absl::Status CheckDataIdentity(AttemptContext& context);

}  // namespace trainerd::engine
