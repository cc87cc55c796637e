// SPDX-License-Identifier: Apache-2.0
// Where the daemon listens, and who may call: a unix socket in the state directory (only its owner
// can connect), or a loopback TCP port with a bearer token in every call. Any other address is
// refused, because it would need TLS.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/store/state_dir.h"

namespace trainerd::server {

struct ListenAddress {
  bool is_unix = true;
  // As gRPC accepts it.
  std::string grpc_address;
  // As trainctl accepts it.
  std::string display;
};

// `listen` is "unix", "127.0.0.1:PORT", "[::1]:PORT" or "localhost:PORT". Errors: InvalidArgument
// with the reason.
absl::StatusOr<ListenAddress> ParseListen(const std::string& listen, const StateDir& state_dir);

// The token in <state dir>/token (mode 0600). Creates the file if it does not exist.
absl::StatusOr<std::string> LoadOrMakeToken(const std::string& state_dir);

// Credentials of the port. For TCP they check `authorization: Bearer <token>` in each call of each
// service.
std::shared_ptr<grpc::ServerCredentials> MakeCredentials(const ListenAddress& address,
                                                         const std::string& token);

}  // namespace trainerd::server
