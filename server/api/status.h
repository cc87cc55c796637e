// SPDX-License-Identifier: Apache-2.0
// absl::Status → gRPC status with google.rpc details in its trailer (grpc-status-details-bin).
#pragma once

#include <grpcpp/support/status.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace trainerd::server {

// Payloads of the status (type URL → bytes) become the details of a google.rpc.Status.
grpc::Status ToGrpc(const absl::Status& status);

// The end of a unary call.
template <typename Message>
grpc::Status Reply(absl::StatusOr<Message> result, Message* response) {
  if (!result.ok()) return ToGrpc(result.status());
  *response = *std::move(result);
  return grpc::Status::OK;
}

}  // namespace trainerd::server
