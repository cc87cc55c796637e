// SPDX-License-Identifier: Apache-2.0
// Changes of a job that name or request checkpoints: where Resume starts, and RequestCheckpoint.
// Each stores the record.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "server/store/rows/job_rows.h"
#include "server/store/writer.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// The checkpoint of this job that the next attempt starts from; empty: the newest verified one.
// Errors: InvalidArgument (the name, or another job's checkpoint); FailedPrecondition with reason
// JOB_STATE unless the job is QUEUED or PAUSED; of LoadVerifiedCheckpoint.
absl::Status SetResumeFrom(Transaction& transaction, const std::string& checkpoint,
                           JobRecord* record);

// Errors: InvalidArgument (labels); FailedPrecondition with reason JOB_STATE without an attempt, or
// when it is being discarded.
absl::Status RecordCheckpointRequest(Transaction& transaction,
                                     const v1::RequestCheckpointRequest& request,
                                     JobRecord* record);

}  // namespace trainerd::server
