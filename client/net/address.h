// SPDX-License-Identifier: Apache-2.0
// Where the daemon is: unix:PATH (long paths too) or a loopback HOST:PORT with its token. Also what
// to tell a user when nothing answers there.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/view/environment.h"

namespace trainerd::client {

struct Address {
  std::string display;      // as the user would write it: unix:/…/trainerd.sock, 127.0.0.1:7070
  std::string socket_path;  // empty for TCP
  std::string host_port;    // empty for a unix socket
  std::string token;        // for TCP
  bool is_default = false;  // nobody named an address
};

struct AddressChoice {
  std::string flag;        // --address
  std::string token_flag;  // --token-file
};

// Flag, else TRAINERD_ADDRESS, else the default state directory's socket. Reads the token for
// HOST:PORT. Errors: InvalidArgument for text that is neither form, and where no token can be read.
absl::StatusOr<Address> ResolveAddress(const AddressChoice& choice, const Environment& env);

// A path to connect to that fits into sun_path. Keeps a descriptor of the socket's folder open
// while it lives.
class SocketPath {
 public:
  // Errors: Unavailable when the folder of a long path cannot be opened.
  static absl::StatusOr<SocketPath> Open(const std::string& path);
  SocketPath(SocketPath&& other) noexcept;
  SocketPath& operator=(SocketPath&& other) noexcept;
  ~SocketPath();
  const std::string& path() const { return path_; }

 private:
  SocketPath(std::string path, int folder_fd) : path_(std::move(path)), folder_fd_(folder_fd) {}
  std::string path_;
  int folder_fd_ = -1;
};

// OK when something listens on the socket now. Errors: Unavailable with errno's text;
// PermissionDenied.
absl::Status ProbeSocket(const std::string& path);

// "no daemon answers at …: why. Start one with …"
std::string NoDaemonMessage(const Address& address, const std::string& why);

}  // namespace trainerd::client
