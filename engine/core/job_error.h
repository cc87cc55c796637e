// SPDX-License-Identifier: Apache-2.0
// From a Status to the error that the job shows: code, cause and whether running again may cure it.
// One table for all stages; where a place knows better than the table (a full disk, numbers that
// are not finite) it says so with WithCause.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::engine {

struct ErrorCause {
  std::string code;  // short stable word
  v1::JobError::Cause cause = v1::JobError::INTERNAL;
  bool retryable = false;
};

// Attaches what ToJobError is to say. The message and the Status code stay.
absl::Status WithCause(absl::Status status, const ErrorCause& cause);

// Cause of an error while a checkpoint or the final model was written: the disk, whatever the
// Status code; or, for FailedPrecondition, the fence.
ErrorCause WriteCause(const absl::Status& status, const std::string& code);

// `stage` is the stage's name in event.proto. `status` is not OK.
v1::JobError ToJobError(const std::string& stage, const absl::Status& status);

}  // namespace trainerd::engine
