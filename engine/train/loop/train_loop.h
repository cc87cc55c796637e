// SPDX-License-Identifier: Apache-2.0
// The stage Train: steps from the resume point to the last one, with evaluation, samples, metrics
// and checkpoints between them.
//
// At each step boundary, in this order: validation and samples if due → checkpoint (interval,
// request, best, pause, stop, end), which waits for space → return if a stop is requested → next
// step. A pause or stop interrupts a running validation. The checkpoint records that, and the
// resumed job runs it first.
#pragma once

#include "absl/status/status.h"
#include "engine/train/attempt_context.h"

namespace trainerd::engine {

// OK: all steps are applied and in context.last_checkpoint. Cancelled: a pause, stop or discard was
// requested; after pause and stop context.last_checkpoint holds every applied step. Other errors:
// those of TrainStep and SaveCheckpoint.
absl::Status TrainLoop(AttemptContext& context);

}  // namespace trainerd::engine
