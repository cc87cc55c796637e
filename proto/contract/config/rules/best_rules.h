// SPDX-License-Identifier: Apache-2.0
// Rules of evaluation.best and of what depends on it.
#pragma once

#include <vector>

#include "proto/contract/config/config_violation.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd {

// Fills in evaluation.best.mode: min for a loss, else max.
void ResolveBest(v1::JobConfig* config);

// The metric is one that the job measures; keys that need evaluation.best have it.
void CheckBest(const v1::JobConfig& config, std::vector<ConfigViolation>* violations);

}  // namespace trainerd
