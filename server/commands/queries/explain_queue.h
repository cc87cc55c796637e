// SPDX-License-Identifier: Apache-2.0
// Why a job that waits for a device has none, and what comes first.
#pragma once

#include "server/commands/queries/explain.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// Adds summary, reasons, actions, position and estimate. Pure.
void ExplainQueue(const ExplainInput& input, v1::Explanation* out);

// Reads what ExplainQueue needs besides the job and the devices.
absl::Status ReadQueueFor(Connection& db, ExplainInput* input);

void AddReason(const std::string& code, const std::string& message, const std::string& subject,
               v1::Explanation* out);
// `command` without trainctl.
void AddAction(const std::string& message, const std::string& command, v1::Explanation* out);

}  // namespace trainerd::server
