// SPDX-License-Identifier: Apache-2.0
// Errors that a client can act on: a status with google.rpc details as payloads. The API sends the
// details in its trailer.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace trainerd::server {

// A status with google.rpc.ErrorInfo{domain "trainerd", reason, metadata}.
absl::Status ErrorWithReason(absl::StatusCode code, const std::string& reason,
                             const std::string& message,
                             const std::map<std::string, std::string>& metadata = {});

// Adds google.rpc.ErrorInfo{domain "trainerd", reason}.
absl::Status WithReason(absl::Status status, const std::string& reason);

// Adds google.rpc.RetryInfo.
absl::Status WithRetry(absl::Status status, absl::Duration delay);

// INVALID_ARGUMENT for one field, with google.rpc.BadRequest.
absl::Status BadField(const std::string& field, const std::string& message);

}  // namespace trainerd::server
