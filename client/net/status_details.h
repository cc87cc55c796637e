// SPDX-License-Identifier: Apache-2.0
// Errors of calls: the google.rpc details of a status, and its exit code.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/view/environment.h"
#include "proto/contract/job_file/yaml_to_proto.h"

namespace trainerd::client {

// Attaches the details of a serialized google.rpc.Status (grpc-status-details-bin) as payloads, one
// per type.
void AttachDetails(const std::string& serialized, absl::Status* status);

// ErrorInfo.reason; "" if there is none.
std::string Reason(const absl::Status& status);
// BadRequest's fields; line is 0.
std::vector<ConfigViolation> FieldViolations(const absl::Status& status);
// RetryInfo.retry_delay.
std::optional<absl::Duration> RetryDelay(const absl::Status& status);

// The connection failed, as opposed to an error that the daemon returned.
bool IsConnectionLost(const absl::Status& status);

// INVALID_ARGUMENT 2, UNAVAILABLE 5, DEADLINE_EXCEEDED 4, anything else that is not OK 6.
ExitCode ExitCodeOf(const absl::Status& status);

}  // namespace trainerd::client
