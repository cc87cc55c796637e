// SPDX-License-Identifier: Apache-2.0
// Where the daemon listens, and who may call: a unix socket in the state directory (only its owner
// gets in), or a loopback TCP port with a bearer token in every call. Any other address is refused:
// beyond this machine there would have to be TLS.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/store/state_dir.h"

namespace trainerd::server {

struct ListenAddress {
  bool is_unix = true;
  std::string grpc_address;  // as gRPC takes it
  std::string for_people;    // as trainctl takes it
};

// `listen` is "unix", "127.0.0.1:PORT", "[::1]:PORT" or "localhost:PORT". Errors: InvalidArgument
// with the reason.
absl::StatusOr<ListenAddress> ParseListen(const std::string& listen, const StateDir& state_dir);

// The token of <state dir>/token (0600), made if it is not there.
absl::StatusOr<std::string> LoadOrMakeToken(const std::string& state_dir);

// Credentials of the port: for TCP they check `authorization: Bearer <token>` of every call of
// every service.
std::shared_ptr<grpc::ServerCredentials> MakeCredentials(const ListenAddress& address,
                                                         const std::string& token);

}  // namespace trainerd::server
