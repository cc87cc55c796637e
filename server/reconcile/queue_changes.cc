// SPDX-License-Identifier: Apache-2.0
#include "server/reconcile/queue_changes.h"

#include <utility>

#include "proto/base/status_macros.h"
#include "server/store/rows/job_rows.h"

namespace trainerd::server {

absl::Status FailJob(Transaction& t, const std::string& job_id, v1::JobError error,
                     const std::string& reason) {
  ASSIGN_OR_RETURN(JobRecord record, LoadJob(t.db(), job_id));
  if (record.job.state() != v1::Job::QUEUED) return absl::OkStatus();
  return ApplyTransition(t,
                         {.to = v1::Job::FAILED,
                          .desired_state = record.job.desired_state(),
                          .reason = reason,
                          .actor = "scheduler",
                          .error = std::move(error)},
                         &record);
}

absl::Status ChangeWait(Transaction& t, const std::string& job_id, v1::Job::WaitReason wait,
                        const std::optional<ConditionUpdate>& condition,
                        const std::string& reason) {
  ASSIGN_OR_RETURN(JobRecord record, LoadJob(t.db(), job_id));
  if (record.job.state() != v1::Job::QUEUED || record.job.wait_reason() == v1::Job::HELD) {
    return absl::OkStatus();
  }
  if (condition.has_value()) RETURN_IF_ERROR(ApplyCondition(t, *condition, &record).status());
  if (record.job.wait_reason() == wait) return StoreJob(t.db(), &record);
  return ApplyTransition(t,
                         {.to = v1::Job::QUEUED,
                          .desired_state = record.job.desired_state(),
                          .wait_reason = wait,
                          .reason = reason,
                          .actor = "scheduler"},
                         &record);
}

}  // namespace trainerd::server
