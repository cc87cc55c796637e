// SPDX-License-Identifier: Apache-2.0
// What a job can start from: a job with lora from an adapter, any other job from a whole model.
#pragma once

#include <string>

#include "trainerd/v1/job_config.pb.h"

namespace trainerd {

// Why a job with `config` cannot start from `folder`, which holds an adapter or a whole model, with
// what to do; "" if it can.
std::string StartFormError(const v1::JobConfig& config, const std::string& folder,
                           bool holds_adapter);

}  // namespace trainerd
