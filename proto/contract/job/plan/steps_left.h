// SPDX-License-Identifier: Apache-2.0
// A job that continues from a checkpoint at or after its last step.
#pragma once

#include <cstdint>
#include <string>

#include "trainerd/v1/job_config.pb.h"

namespace trainerd {

// The error that no step is left, with what to change. `checkpoint`: what the job of the resolved
// configuration starts from, of step `step`; the job ends at step `last`.
std::string NoStepLeftText(const v1::JobConfig& resolved, const std::string& checkpoint,
                           int64_t step, int64_t last);

}  // namespace trainerd
