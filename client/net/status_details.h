// SPDX-License-Identifier: Apache-2.0
// Errors of calls: the google.rpc details of a status, its exit code, its human-readable text.
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

// Prints "trainctl: …" lines and returns the exit code. Violations of a job file are printed as
// file:line: path: message if `file` and `lines` are given.
ExitCode PrintError(const absl::Status& status, std::ostream& err, const std::string& file = "",
                    const std::map<std::string, int>& lines = {});

// Prints one line per violation, sorted by line: "file:line: path: message". Violations of --set
// have no line.
void PrintViolations(std::vector<ConfigViolation> violations, const std::string& file,
                     std::ostream& err);

}  // namespace trainerd::client
