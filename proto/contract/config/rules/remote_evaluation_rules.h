// SPDX-License-Identifier: Apache-2.0
// The rules of evaluation.remote: when evaluators outside the worker measure a job's models.
#pragma once

#include <string_view>
#include <vector>

#include "proto/contract/config/config_violation.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd {

inline constexpr int kMaxEvaluationParams = 32;

// [a-z0-9._-]{1,63}: the kind of evaluator.
bool IsSuiteName(std::string_view text);

// `config` has its defaults.
void CheckRemoteEvaluations(const v1::JobConfig& config, std::vector<ConfigViolation>* violations);

}  // namespace trainerd
