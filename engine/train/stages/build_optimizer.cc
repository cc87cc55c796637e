// SPDX-License-Identifier: Apache-2.0
#include "engine/optim/factory.h"
#include "engine/train/stages/stages.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {

absl::Status BuildOptimizer(AttemptContext& context) {
  ASSIGN_OR_RETURN(context.optimizer,
                   MakeOptimizer(context.config.optimizer(), *context.parameters));
  return absl::OkStatus();
}

}  // namespace trainerd::engine
