// SPDX-License-Identifier: Apache-2.0
// Where the daemon listens: unix sockets, loopback TCP ports, and any address with TLS. Any other
// address is refused. Who may call is decided in api/access.
#pragma once

#include <sys/socket.h>
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
  bool is_tls = false;
  // A unix socket that every user of the machine can connect to; who may call is known by the user.
  bool is_shared = false;
  // As trainctl accepts it: unix:PATH, HOST:PORT or tls:HOST:PORT.
  std::string display;
};

// `listen` is "unix", "unix:PATH", "127.0.0.1:PORT", "[::1]:PORT", "localhost:PORT" or
// "tls:HOST:PORT". Errors: InvalidArgument with the reason.
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
  absl::Status Listen(const sockaddr* name, unsigned size);

  ListenAddress address_;
  Fd fd_;
  // Of a unix socket: its folder, its name in it, and the inode of its file.
  Fd folder_;
  std::string name_;
  ino_t inode_ = 0;
};

// The token in <state dir>/token (mode 0600). Creates the file if it does not exist.
absl::StatusOr<std::string> LoadOrMakeToken(const std::string& state_dir);

}  // namespace trainerd::server
