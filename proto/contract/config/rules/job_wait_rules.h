// SPDX-License-Identifier: Apache-2.0
// The rules of what a job waits for before its first start: not_before and
// depends_on.
#pragma once

#include <vector>

#include "proto/contract/config/config_violation.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd {

// Appends a violation for each key that cannot be kept.
void CheckWaits(const v1::JobConfig& config, std::vector<ConfigViolation>* violations);

}  // namespace trainerd
