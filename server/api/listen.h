// SPDX-License-Identifier: Apache-2.0
// Where the daemon listens, and who may call: unix sockets that only their owner can connect to,
// and loopback TCP ports with a bearer token in every call. Any other address is refused, because
// it would need TLS.
#pragma once

#include <grpcpp/grpcpp.h>
#include <sys/types.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/base/fd.h"
#include "server/store/state_dir.h"

namespace trainerd::server {

struct ListenAddress {
  bool is_unix = true;
  // As trainctl accepts it: unix:PATH or HOST:PORT.
  std::string display;
};

// `listen` is "unix", "unix:PATH", "127.0.0.1:PORT", "[::1]:PORT" or "localhost:PORT". Errors:
// InvalidArgument with the reason.
absl::StatusOr<ListenAddress> ParseListen(const std::string& listen, const StateDir& state_dir);

// A socket that listens. Its file is removed with it.
class ListenSocket {
 public:
  // Replaces the socket file of a daemon that was killed. With port 0, the system chooses a port
  // and address() names it. Errors: Unavailable (another process listens there, or the system
  // refuses), AlreadyExists (a file that is not a socket), InvalidArgument (the file's name).
  static absl::StatusOr<std::unique_ptr<ListenSocket>> Open(ListenAddress address);
  ~ListenSocket();

  int fd() const { return fd_.get(); }
  const ListenAddress& address() const { return address_; }

 private:
  explicit ListenSocket(ListenAddress address) : address_(std::move(address)) {}
  absl::Status OpenUnix();
  absl::Status OpenTcp();

  ListenAddress address_;
  Fd fd_;
  // Of a unix socket: its folder, its name in it, and the inode of its file.
  Fd folder_;
  std::string name_;
  ino_t inode_ = 0;
};

// The token in <state dir>/token (mode 0600). Creates the file if it does not exist.
absl::StatusOr<std::string> LoadOrMakeToken(const std::string& state_dir);

// Credentials of the address. For TCP they check `authorization: Bearer <token>` in each call of
// each service but the health service.
std::shared_ptr<grpc::ServerCredentials> MakeCredentials(const ListenAddress& address,
                                                         const std::string& token);

}  // namespace trainerd::server
