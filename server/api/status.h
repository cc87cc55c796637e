// SPDX-License-Identifier: Apache-2.0
// absl::Status → gRPC status with google.rpc details in its trailer (grpc-status-details-bin).
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace trainerd::server {

// Payloads of the status (type URL → bytes) become the details of a google.rpc.Status.
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace trainerd::server
