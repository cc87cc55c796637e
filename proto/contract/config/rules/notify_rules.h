// SPDX-License-Identifier: Apache-2.0
// The rules of `notify` in a job file and in trainerd.yaml. Whether the targets that a job names
// exist is for the daemon to check.
#pragma once

#include <vector>

#include "proto/contract/config/config_violation.h"
#include "trainerd/v1/job_config.pb.h"
#include "trainerd/v1/server_config.pb.h"

namespace trainerd {

// Appends a violation for each entry that cannot be kept. The address of a target can be a secret,
// so no message quotes it.
void CheckNotify(const v1::JobConfig& config, std::vector<ConfigViolation>* violations);
void CheckNotifyTargets(const v1::ServerConfig& config, std::vector<ConfigViolation>* violations);

}  // namespace trainerd
