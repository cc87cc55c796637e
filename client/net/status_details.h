// SPDX-License-Identifier: Apache-2.0
// Errors as trainctl sees and says them: google.rpc details out of a status, its exit code, its
// text for people.
#pragma once

#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/view/environment.h"
#include "proto/contract/config/yaml_to_proto.h"

namespace trainerd::client {

// Attaches the details of a serialized google.rpc.Status (grpc-status-details-bin) as payloads, one
// a type.
void AttachDetails(const std::string& serialized, absl::Status* status);

// ErrorInfo.reason, "" when there is none.
std::string Reason(const absl::Status& status);
// BadRequest's fields; line is 0.
std::vector<ConfigViolation> FieldViolations(const absl::Status& status);
// RetryInfo.retry_delay.
std::optional<absl::Duration> RetryDelay(const absl::Status& status);

// The connection broke or was never there, as opposed to an answer of the daemon.
bool IsConnectionLost(const absl::Status& status);

// INVALID_ARGUMENT 2, UNAVAILABLE 5, DEADLINE_EXCEEDED 4, anything else that is not OK 6.
ExitCode ExitCodeOf(const absl::Status& status);

// Writes "trainctl: …" lines and gives the exit code. Violations of a job file come as file:line:
// path: message when `file` and `lines` are known.
ExitCode PrintError(const absl::Status& status, std::ostream& err, const std::string& file = "",
                    const std::map<std::string, int>& lines = {});

// One line a violation, sorted by line: "file:line: path: message"; those without a line are of
// --set.
void PrintViolations(std::vector<ConfigViolation> violations, const std::string& file,
                     std::ostream& err);

}  // namespace trainerd::client
