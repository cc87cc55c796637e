// SPDX-License-Identifier: Apache-2.0
// Changes of a queued job that no client requested. Each does nothing if a command has changed the
// job in between.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "server/ledger/transition.h"
#include "server/store/writer.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server {

absl::Status FailJob(Transaction& t, const std::string& job_id, v1::JobError error,
                     const std::string& reason);

// Changes the wait reason and the condition that explains it. A held job stays held.
absl::Status ChangeWait(Transaction& t, const std::string& job_id, v1::Job::WaitReason wait,
                        const std::optional<ConditionUpdate>& condition, const std::string& reason);

}  // namespace trainerd::server
