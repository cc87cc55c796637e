// SPDX-License-Identifier: Apache-2.0
#include "client/net/address.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "proto/base/atomic_file.h"
#include "proto/contract/job/state_dir.h"

namespace trainerd::client {
namespace {

constexpr char kTlsPrefix[] = "tls:";

std::string Absolute(const std::string& path, const Environment& env) {
  return path.empty() || path[0] == '/' || env.working_dir.empty()
             ? path
             : absl::StrCat(env.working_dir, "/", path);
}

bool IsHostPort(const std::string& text) {
  const size_t colon = text.rfind(':');
  int port = 0;
  return colon != std::string::npos && colon > 0 && text.find('/') == std::string::npos &&
         absl::SimpleAtoi(text.substr(colon + 1), &port) && port > 0 && port < 65536;
}

// The file of the token, and what named it.
std::string TokenPath(const AddressChoice& choice, const Environment& env, std::string* named_by) {
  if (!choice.token_flag.empty()) {
    *named_by = "--token-file";
    return Absolute(choice.token_flag, env);
  }
  if (!env.token_file.empty()) {
    *named_by = "TRAINERD_TOKEN_FILE";
    return Absolute(env.token_file, env);
  }
  *named_by = "the default state directory";
  return absl::StrCat(env.state_dir, "/", kTokenName);
}

// Reads the file of a flag or variable, if it is set.
absl::Status ReadPem(const std::string& flag, const std::string& variable, const Environment& env,
                     std::string* pem) {
  const std::string path = Absolute(flag.empty() ? variable : flag, env);
  if (path.empty()) return absl::OkStatus();
  absl::StatusOr<std::string> text = ReadStream(path);
  if (!text.ok())
    return absl::InvalidArgumentError(
        absl::StrCat("cannot read the PEM file ", path, ": ", text.status().message()));
  if (!absl::StrContains(*text, "-----BEGIN "))
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is not a PEM file; it must contain a line -----BEGIN …-----"));
  *pem = *std::move(text);
  return absl::OkStatus();
}

absl::Status ReadTlsFiles(const AddressChoice& choice, const Environment& env, Address* address) {
  absl::Status read = ReadPem(choice.ca_flag, env.ca_file, env, &address->ca);
  if (read.ok())
    read = ReadPem(choice.certificate_flag, env.certificate_file, env, &address->certificate);
  if (read.ok()) read = ReadPem(choice.key_flag, env.key_file, env, &address->key);
  if (!read.ok() || address->certificate.empty() == address->key.empty()) return read;
  return absl::InvalidArgumentError(
      "a client certificate needs its private key: set both --cert-file and --key-file");
}

absl::StatusOr<std::string> ReadToken(const std::string& path, const std::string& host_port) {
  absl::StatusOr<std::string> text = ReadStream(path);
  if (!text.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot read the token for ", host_port, ": ", text.status().message(),
                     "; the daemon stores it in <state directory>/token. Set --token-file or "
                     "TRAINERD_TOKEN_FILE to that file"));
  }
  std::string token(absl::StripAsciiWhitespace(*text));
  for (unsigned char c : token) {
    if (c <= 0x20 || c >= 0x7f)
      return absl::InvalidArgumentError(absl::StrCat(
          path, " is not a token file: it contains characters that are not printable ASCII"));
  }
  if (token.empty())
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is empty; it must contain the daemon's token"));
  return token;
}

}  // namespace

absl::StatusOr<Address> ResolveAddress(const AddressChoice& choice, const Environment& env) {
  Address address;
  std::string text = !choice.flag.empty() ? choice.flag : env.address;
  if (text.empty()) {
    address.is_default = true;
    text = absl::StrCat("unix:", env.state_dir, "/", kSocketName);
  }
  if (absl::StartsWith(text, "unix:")) {
    absl::string_view path = absl::StripPrefix(text, "unix:");
    // unix:///path is the URI form of unix:/path.
    if (absl::StartsWith(path, "//")) path.remove_prefix(2);
    if (path.empty())
      return absl::InvalidArgumentError(
          absl::StrCat("address \"", text, "\" has no path; write unix:PATH"));
    address.socket_path = Absolute(std::string(path), env);
    address.display = absl::StrCat("unix:", address.socket_path);
    return address;
  }
  address.is_tls = absl::StartsWith(text, kTlsPrefix);
  address.host_port = std::string(absl::StripPrefix(text, kTlsPrefix));
  if (!IsHostPort(address.host_port)) {
    return absl::InvalidArgumentError(absl::StrCat("address \"", text,
                                                   "\" is neither unix:PATH nor HOST:PORT nor "
                                                   "tls:HOST:PORT"));
  }
  address.display = text;
  if (address.is_tls) {
    const absl::Status read = ReadTlsFiles(choice, env, &address);
    if (!read.ok()) return read;
    if (choice.token_flag.empty() && env.token_file.empty()) return address;
  }
  std::string named_by;
  const std::string path = TokenPath(choice, env, &named_by);
  absl::StatusOr<std::string> token = ReadToken(path, text);
  if (!token.ok()) return token.status();
  address.token = *std::move(token);
  address.token_source = absl::StrCat(path, " (", named_by, ")");
  return address;
}

absl::StatusOr<SocketPath> SocketPath::Open(const std::string& path) {
  if (path.size() < sizeof(sockaddr_un{}.sun_path)) return SocketPath(path, -1);
  const size_t slash = path.rfind('/');
  const std::string folder = path.substr(0, slash);
  const int fd = open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return absl::UnavailableError(absl::StrCat(folder, ": ", std::strerror(errno)));
  return SocketPath(absl::StrCat("/proc/self/fd/", fd, path.substr(slash)), fd);
}

SocketPath::SocketPath(SocketPath&& other) noexcept
    : path_(std::move(other.path_)), folder_fd_(std::exchange(other.folder_fd_, -1)) {}

SocketPath& SocketPath::operator=(SocketPath&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(folder_fd_, other.folder_fd_);
  return *this;
}

SocketPath::~SocketPath() {
  if (folder_fd_ >= 0) close(folder_fd_);
}

absl::Status ProbeSocket(const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof(name.sun_path))
    return absl::InvalidArgumentError(absl::StrCat(path, " is too long for a socket"));
  std::memcpy(name.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return absl::UnavailableError(absl::StrCat("socket: ", std::strerror(errno)));
  const int failed =
      connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0 ? 0 : errno;
  close(fd);
  // EAGAIN: a process listens, but its queue is full.
  if (failed == 0 || failed == EAGAIN) return absl::OkStatus();
  if (failed == EACCES || failed == EPERM)
    return absl::PermissionDeniedError("the socket belongs to another user");
  if (failed == ENOENT) return absl::UnavailableError("the socket does not exist");
  if (failed == ECONNREFUSED)
    return absl::UnavailableError("the socket exists, but no process listens on it");
  return absl::UnavailableError(std::strerror(failed));
}

std::string RefusedTokenMessage(const Address& address) {
  if (address.is_tls) {
    return absl::StrCat("the daemon at ", address.display, " refused the token of ",
                        address.token_source,
                        "; set --token-file or TRAINERD_TOKEN_FILE to the file of a valid one, "
                        "which an admin makes with `trainctl token create`");
  }
  return absl::StrCat("the daemon at ", address.display, " refused the token of ",
                      address.token_source,
                      "; set --token-file or TRAINERD_TOKEN_FILE to the file `token` in the state "
                      "directory of that daemon");
}

std::string NoDaemonMessage(const Address& address, const std::string& why) {
  std::string command = "trainerd";
  if (address.is_tls)
    return absl::StrCat(
        "no daemon answers at ", address.display, ": ", why,
        "; check the address, and that the daemon listens there (listen in its settings)");
  if (!address.host_port.empty()) {
    absl::StrAppend(&command, " --listen ", address.host_port);
  } else if (!address.is_default) {
    absl::StrAppend(&command, " --state-dir ",
                    address.socket_path.substr(0, address.socket_path.rfind('/')));
  }
  return absl::StrCat("no daemon answers at ", address.display, ": ", why, "; start one with `",
                      command, "`, or set another address with --address or TRAINERD_ADDRESS");
}

}  // namespace trainerd::client
