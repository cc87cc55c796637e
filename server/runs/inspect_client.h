// SPDX-License-Identifier: Apache-2.0
// SubmitJob(validate_only): trainerd-inspect reads the data in a child process with a deadline, so
// that the daemon never parses untrusted files.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "trainerd/v1/event.pb.h"

namespace trainerd::server {

// Runs `trainerd-inspect validate --quick` on a job file, given as text with absolute paths. A
// report with error findings is a result, not an error. The child does not outlive this process;
// `is_cancelled`: RunOptions. Errors: InvalidArgument with the child's message (configuration,
// model folder), NotFound (program), DeadlineExceeded, Cancelled, Internal.
absl::StatusOr<v1::DataReport> RunValidate(const std::string& inspect_path,
                                           const std::string& config_yaml, absl::Duration timeout,
                                           const std::function<bool()>& is_cancelled);

}  // namespace trainerd::server
