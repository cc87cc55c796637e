// SPDX-License-Identifier: Apache-2.0
// The stage Train: steps from the resume point to the end of the run, with evaluation, samples,
// metrics and checkpoints between them.
//
// At each step boundary, in this order: validation and samples that are due → checkpoint (interval,
// asked for, pause, stop, end) → leave if that is wanted → next step. A pause or stop in the middle
// of a validation abandons it; the checkpoint knows, and the resumed run does it first.
#pragma once

#include "absl/status/status.h"
#include "engine/train/attempt_context.h"

namespace trainerd::engine {

// OK: all steps are applied and in run.last_checkpoint. Cancelled: a pause, stop or discard ended
// it; after pause and stop run.last_checkpoint holds every applied step. Other errors: see
// TrainStep and SaveCheckpoint.
absl::Status TrainLoop(AttemptContext& context);

}  // namespace trainerd::engine
