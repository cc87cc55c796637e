// SPDX-License-Identifier: Apache-2.0
// Address of the daemon: unix:PATH (of any length), a loopback HOST:PORT with its token, or
// tls:HOST:PORT with a token, a client certificate or both.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/view/environment.h"

namespace trainerd::client {

struct Address {
  // As a user writes it: unix:/…/trainerd.sock, 127.0.0.1:7070.
  std::string display;
  // Empty for TCP.
  std::string socket_path;
  // Empty for a unix socket.
  std::string host_port;
  bool is_tls = false;
  // PEM texts for TLS; empty: the authorities of the system, no client certificate.
  std::string ca;
  std::string certificate;
  std::string key;
  // Empty: none is sent.
  std::string token;
  // The file of the token, and what named it: "/x/token (TRAINERD_TOKEN_FILE)".
  std::string token_source;
  // Neither --address nor TRAINERD_ADDRESS is set.
  bool is_default = false;
};

struct AddressChoice {
  // --address
  std::string flag;
  // --token-file
  std::string token_flag;
  // --ca-file, --cert-file and --key-file
  std::string ca_flag;
  std::string certificate_flag;
  std::string key_flag;
};

// Flag, else TRAINERD_ADDRESS, else the socket of the default state directory. Reads the token and
// the files of TLS. The token of the default state directory is for HOST:PORT alone: no other
// machine gets it. Errors: InvalidArgument for text of no such form, or if a file cannot be read.
absl::StatusOr<Address> ResolveAddress(const AddressChoice& choice, const Environment& env);

// A path to connect to that fits into sun_path. Holds an open descriptor of the socket's folder.
class SocketPath {
 public:
  // Errors: Unavailable if the folder of a long path cannot be opened.
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

// OK if a process listens on the socket now. Errors: Unavailable with the reason;
// PermissionDenied.
absl::Status ProbeSocket(const std::string& path);

// The daemon answered, but refused the token: names where the token is from, and what to do.
std::string RefusedTokenMessage(const Address& address);

// "no daemon answers at …: why; start one with …".
std::string NoDaemonMessage(const Address& address, const std::string& why);

}  // namespace trainerd::client
