// SPDX-License-Identifier: Apache-2.0
// The daemon: state directory, control plane and gRPC. Start order: lock, database, open attempts,
// gRPC, then SERVING.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "server/api/listen.h"
#include "server/api/services.h"
#include "server/control_plane.h"
#include "server/store/state_dir.h"
#include "trainerd/v1/server_config.pb.h"

namespace trainerd::server {

class Server {
 public:
  struct Options {
    // Resolved; state_dir and the programs are set.
    v1::ServerConfig config;
    std::string version;
    // The umask of the user who started the daemon: that of output.path.
    std::optional<uint32_t> output_umask = std::nullopt;
  };
  // Starts everything; the health service reports SERVING when this returns. Errors:
  // FailedPrecondition (another daemon, a newer database), PermissionDenied, ResourceExhausted,
  // InvalidArgument (listen), Unavailable (the port is in use).
  static absl::StatusOr<std::unique_ptr<Server>> Start(Options options);
  // Drains: starts no more attempts and ends the streams. Running attempts continue under their
  // shims.
  ~Server();

  // As trainctl's --address accepts it.
  const std::string& address() const { return address_.display; }

 private:
  explicit Server(Options options);
  absl::Status Serve();

  const Options options_;
  ListenAddress address_;

  // Destroyed in reverse order, so each part outlives the parts that use it.
  std::unique_ptr<StateDir> state_dir_;
  std::unique_ptr<ControlPlane> control_;
  std::unique_ptr<Services> services_;
  std::unique_ptr<grpc::Server> grpc_;
};

}  // namespace trainerd::server
