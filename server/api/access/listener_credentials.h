// SPDX-License-Identifier: Apache-2.0
// The gRPC credentials of one listener: they encrypt (TLS), mark the connections of a unix socket
// with the user at the other end, and check the calls that have no rule of their own. All calls of
// the API are checked by Access::Check, which can answer with details.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "server/api/access/access.h"
#include "server/api/access/certificates.h"

namespace trainerd::server {

struct ListenerOptions {
  CallFacts::Transport transport = CallFacts::Transport::kLoopback;
  // Of a unix socket: the user whose connections these are; absent: any other user.
  std::optional<uint32_t> uid;
  // Outlives the server.
  const Access& access;
  // For TLS; outlives the server.
  Certificates* certificates = nullptr;
};

// Errors: null if gRPC refuses the certificates.
std::shared_ptr<grpc::ServerCredentials> MakeListenerCredentials(const ListenerOptions& options);

}  // namespace trainerd::server
