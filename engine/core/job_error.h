// SPDX-License-Identifier: Apache-2.0
// From a Status to the error that the job reports: code, cause, and whether a retry may succeed.
// One table serves all stages. Code that knows more than the table (a full disk, non-finite
// numbers) overrides it with WithCause.
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

// Attaches the cause that ToJobError reports. The message and the Status code are unchanged.
absl::Status WithCause(absl::Status status, const ErrorCause& cause);

// As CheckPublisher. The job reports another publisher as FENCED.
absl::Status CheckFence(const std::string& run_dir, int attempt);

// Cause of an error while a checkpoint or the final model was written: the one that is attached (a
// device that failed while it was read, the fence), else the disk.
ErrorCause WriteCause(const absl::Status& status, const std::string& code);

// `stage` is the stage's name in event.proto. `status` is not OK.
v1::JobError ToJobError(const std::string& stage, const absl::Status& status);

}  // namespace trainerd::engine
