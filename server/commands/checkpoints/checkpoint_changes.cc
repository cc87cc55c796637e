// SPDX-License-Identifier: Apache-2.0
#include "server/commands/checkpoints/checkpoint_changes.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_violation.h"
#include "proto/contract/config/rules/label_rules.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"
#include "server/commands/request.h"
#include "server/ledger/checkpoints/checkpoint_request.h"
#include "server/ledger/checkpoints/load_checkpoint.h"
#include "server/store/errors.h"

namespace trainerd::server {
namespace {

absl::Status RefusedInState(const v1::Job& job, const std::string& command,
                            const std::string& why) {
  return ErrorWithReason(absl::StatusCode::kFailedPrecondition, "JOB_STATE",
                         absl::StrCat(job.name(), " is ", StateName(job.state()), ": ", why),
                         {{"state", StateName(job.state())}, {"command", command}});
}

absl::Status CheckRequestLabels(const LabelMap& labels) {
  std::vector<ConfigViolation> violations;
  CheckLabels(labels, &violations);
  return ViolationsToStatus(violations);
}

}  // namespace

absl::Status SetResumeFrom(Transaction& transaction, const std::string& checkpoint,
                           JobRecord* record) {
  const v1::Job& job = record->job;
  if (checkpoint == record->ledger.resume_from()) return absl::OkStatus();
  if (!checkpoint.empty()) {
    RETURN_IF_ERROR(RequestedCheckpoint("from_checkpoint", checkpoint));
    if (JobId(checkpoint) != JobId(job.name())) {
      return BadField(
          "from_checkpoint",
          absl::StrCat(Quoted(checkpoint), " is a checkpoint of another job than ", job.name(),
                       "; make a new job of it: `trainctl submit --from ", checkpoint, "`"));
    }
    if (job.state() != v1::Job::QUEUED && job.state() != v1::Job::PAUSED) {
      return RefusedInState(job, "Resume",
                            "only a job that is QUEUED or PAUSED can resume from a named "
                            "checkpoint; pause it first");
    }
    RETURN_IF_ERROR(LoadVerifiedCheckpoint(transaction.db(), checkpoint).status());
  }
  record->ledger.set_resume_from(checkpoint);
  return StoreJob(transaction.db(), record);
}

absl::Status RecordCheckpointRequest(Transaction& transaction,
                                     const v1::RequestCheckpointRequest& request,
                                     JobRecord* record) {
  const v1::Job& job = record->job;
  RETURN_IF_ERROR(CheckRequestLabels(request.labels()));
  if (!IsActive(job.state()) || record->ledger.awaiting_evaluation()) {
    return RefusedInState(job, "RequestCheckpoint",
                          "no attempt runs that could write a checkpoint");
  }
  if (job.desired_state() >= v1::Job::DESIRED_DISCARD) {
    return RefusedInState(job, "RequestCheckpoint",
                          "its attempt is being discarded and writes no further checkpoint");
  }
  AddCheckpointRequest(request, record);
  // Those of earlier calls count too.
  RETURN_IF_ERROR(CheckRequestLabels(record->ledger.checkpoint_request().labels()));
  return StoreJob(transaction.db(), record);
}

}  // namespace trainerd::server
