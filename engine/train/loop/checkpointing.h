// SPDX-License-Identifier: Apache-2.0
// Publishes the state of a running job as a checkpoint and says so in events.
#pragma once

#include "absl/status/status.h"
#include "engine/train/attempt_context.h"

namespace trainerd::engine {

// Writes and verifies a checkpoint of run.state's step, which becomes run.last_checkpoint; emits
// STARTED, then PUBLISHED or FAILED. Does nothing when run.last_checkpoint is of this step already,
// or no step was applied. Errors: cause STORAGE with the numbers when it cannot be written; earlier
// checkpoints are intact.
absl::Status SaveCheckpoint(AttemptContext& context);

// The template that model folders of this job get in place of the source's own; "" for
// data.chat_template: model.
std::string TemplateOverride(const AttemptContext& context);

}  // namespace trainerd::engine
