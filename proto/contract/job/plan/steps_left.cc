// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/plan/steps_left.h"

#include "absl/strings/str_cat.h"

namespace trainerd {

std::string NoStepLeftText(const v1::JobConfig& resolved, const std::string& checkpoint,
                           int64_t step, int64_t last) {
  // max_steps takes precedence over epochs.
  const char* longer = resolved.train().has_max_steps()
                           ? "raise train.max_steps, or replace it by a larger train.epochs"
                           : "raise train.epochs, or set train.max_steps";
  return absl::StrCat(checkpoint, " is of step ", step, " and the job ends at step ", last,
                      ", so no step is left; ", longer,
                      ", or train a new job from its weights with init_from.state=weights");
}

}  // namespace trainerd
