// SPDX-License-Identifier: Apache-2.0
// A unary call: checks the caller, calls the command or query, converts its result.
#pragma once

#include <grpcpp/grpcpp.h>

#include <utility>

#include "server/api/access/access.h"
#include "server/api/status.h"

namespace trainerd::server {

// `command` gets the Caller and returns absl::StatusOr<Response>.
template <typename Request, typename Response, typename Command>
grpc::Status Serve(Access& access, const grpc::ServerContext* context, const Request* request,
                   Response* response, Command command) {
  const absl::StatusOr<Identity> identity = access.Check(*context, *request);
  if (!identity.ok()) return ToGrpc(identity.status());
  return Reply(command(identity->caller), response);
}

}  // namespace trainerd::server
