// SPDX-License-Identifier: Apache-2.0
// SubmitJob(validate_only): trainerd-inspect looks at the data in a child process with a deadline,
// so that untrusted files are never parsed here.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::server {

// Runs `trainerd-inspect validate --quick` over a job file given as text with absolute paths. A
// report with error findings is an answer, not an error. Errors: InvalidArgument with the child's
// message (configuration, model folder), NotFound (no such program), DeadlineExceeded, Internal.
absl::StatusOr<v1::DataReport> RunValidate(const std::string& inspect_path,
                                           const std::string& config_yaml, absl::Duration timeout);

}  // namespace trainerd::server
