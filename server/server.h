// SPDX-License-Identifier: Apache-2.0
// The daemon: state directory, control plane and gRPC. Start order: lock, sockets, database, open
// attempts, gRPC, then SERVING. The sockets are removed last, before the lock is released.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/api/acceptor.h"
#include "server/api/services.h"
#include "server/control_plane.h"
#include "server/store/state_dir.h"
#include "trainerd/v1/server_config.pb.h"

namespace trainerd::server {

// HTTP/2 pings, which keep a quiet connection open in NATs and proxies.
struct Keepalive {
  // The server sends a ping after this time without data, with and without open calls.
  absl::Duration send_every = absl::Seconds(30);
  // A connection without an answer for this long is closed.
  absl::Duration answer_within = absl::Seconds(20);
  // Clients may send a ping this often, with and without open calls. A second less than the
  // documented 10 s, because their timers are not exact.
  absl::Duration accept_every = absl::Seconds(9);
};

class Server {
 public:
  struct Options {
    // Resolved; state_dir and the programs are set.
    v1::ServerConfig config;
    std::string version;
    // The umask of the user who started the daemon: that of output.path.
    std::optional<uint32_t> output_umask = std::nullopt;
    // Path of trainerd-notify, which starts with the first notification.
    std::string notify_program = "";
    Keepalive keepalive = {};
  };
  // Starts everything; the health service reports SERVING when this returns. Errors:
  // FailedPrecondition (another daemon, another owner, a newer database), PermissionDenied,
  // ResourceExhausted, InvalidArgument (listen), Unavailable (an address is in use).
  static absl::StatusOr<std::unique_ptr<Server>> Start(Options options);
  // Drains within 5 s, whatever clients do: starts no more attempts, ends all calls and
  // connections. Running attempts continue under their shims.
  ~Server();

  // As trainctl's --address accepts them.
  std::vector<std::string> addresses() const { return acceptor_->Addresses(); }
  // For the service manager: what the daemon does, in one line; the rounds of the reconciler, and a
  // request of one.
  std::string StatusLine();
  int64_t rounds() const { return control_->rounds(); }
  void Poke() { control_->Poke(); }

 private:
  explicit Server(Options options);
  // The addresses of the settings; also reads the files of tls.
  absl::StatusOr<std::vector<ListenAddress>> ReadAddresses();
  absl::Status OpenAccess(const std::vector<ListenAddress>& addresses);
  // Appends an event when the files of tls begin or cease to be refused.
  void ReportCertificates();
  absl::Status Serve();
  void SetServing(bool serving);
  void ShutDownGrpc();

  const Options options_;

  // Destroyed in reverse order, so each part outlives the parts that use it.
  std::unique_ptr<StateDir> state_dir_;
  // Null without TLS.
  std::unique_ptr<Certificates> certificates_;
  std::unique_ptr<Acceptor> acceptor_;
  std::unique_ptr<ControlPlane> control_;
  std::unique_ptr<Tokens> tokens_;
  std::unique_ptr<Access> access_;
  std::unique_ptr<Services> services_;
  std::unique_ptr<grpc::Server> grpc_;
};

}  // namespace trainerd::server
