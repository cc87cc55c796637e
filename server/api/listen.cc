// SPDX-License-Identifier: Apache-2.0
#include "server/api/listen.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "proto/base/atomic_file.h"
#include "proto/base/secret/random_hex.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/state_dir.h"

namespace trainerd::server {
namespace {

constexpr size_t kTokenBytes = 32;
constexpr size_t kMinTokenLength = 16;
constexpr char kTlsPrefix[] = "tls:";
constexpr int kBacklog = 512;

absl::Status Refused(const std::string& listen) {
  return absl::InvalidArgumentError(absl::StrCat(
      "listen: \"", listen,
      "\" is refused: trainerd serves unix sockets (\"unix\" or unix:/PATH), loopback addresses "
      "(127.0.0.1:PORT or [::1]:PORT) and, with the group tls of its settings, tls:HOST:PORT; "
      "without TLS, calls from elsewhere would be neither encrypted nor authenticated"));
}

absl::Status InUse(const ListenAddress& address) {
  return absl::UnavailableError(absl::StrCat(
      "cannot listen at ", address.display,
      address.is_unix ? "; another process listens there. Use another path with --listen"
                      : "; is the port taken by another program? Use another port with --listen"));
}

absl::Status CannotListen(int error, const ListenAddress& address) {
  if (error == EADDRINUSE) return InUse(address);
  return absl::UnavailableError(
      absl::StrCat("cannot listen at ", address.display, ": ", std::strerror(error)));
}

// False: nobody listens on the socket at `name`.
bool Answers(const sockaddr_un& name) {
  const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0 ||
         errno != ECONNREFUSED;
}

// The port is at the same position in the address of either family.
int PortOf(const sockaddr_storage& name) {
  return ntohs(reinterpret_cast<const sockaddr_in*>(&name)->sin_port);
}

}  // namespace

absl::StatusOr<ListenAddress> ParseListen(const std::string& listen, const StateDir& state_dir) {
  if (listen == "unix") {
    return ListenAddress{.is_unix = true,
                         .display = absl::StrCat("unix:", state_dir.path(), "/", kSocketName)};
  }
  if (absl::StartsWith(listen, "unix:/")) return ListenAddress{.is_unix = true, .display = listen};
  const bool is_tls = absl::StartsWith(listen, kTlsPrefix);
  const std::string address(absl::StripPrefix(listen, kTlsPrefix));
  const size_t colon = address.rfind(':');
  int port = -1;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 || port > 65535) {
    return Refused(listen);
  }
  if (is_tls) return ListenAddress{.is_unix = false, .is_tls = true, .display = listen};
  const std::string host = address.substr(0, colon);
  // Other addresses of 127/8 are loopback too, but these are the usual spellings.
  if (host != "127.0.0.1" && host != "[::1]" && host != "localhost") return Refused(listen);
  return ListenAddress{
      .is_unix = false,
      .display = absl::StrCat(host == "localhost" ? "127.0.0.1" : host, ":", port)};
}

absl::StatusOr<std::unique_ptr<ListenSocket>> ListenSocket::Open(ListenAddress address) {
  std::unique_ptr<ListenSocket> socket(new ListenSocket(std::move(address)));
  RETURN_IF_ERROR(socket->address_.is_unix ? socket->OpenUnix() : socket->OpenTcp());
  return socket;
}

absl::Status ListenSocket::OpenUnix() {
  const std::string path(absl::StripPrefix(address_.display, "unix:"));
  const size_t slash = path.rfind('/');
  name_ = path.substr(slash + 1);
  const std::string folder = path.substr(0, slash + 1);
  folder_ = Fd(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder_.is_open()) return CannotListen(errno, address_);
  // A socket path is limited to 107 bytes. The path through the descriptor is short.
  const std::string short_path = absl::StrCat("/proc/self/fd/", folder_.get(), "/", name_);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (name_.empty() || short_path.size() >= sizeof(name.sun_path)) {
    return absl::InvalidArgumentError(
        absl::StrCat("listen: \"", address_.display, "\" does not end in a file name of 1 to ",
                     sizeof(name.sun_path) - 1 - (short_path.size() - name_.size()), " bytes"));
  }
  std::memcpy(name.sun_path, short_path.data(), short_path.size());
  struct stat info;
  if (::fstatat(folder_.get(), name_.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
    if (!S_ISSOCK(info.st_mode)) {
      return absl::AlreadyExistsError(
          absl::StrCat(path, " exists and is not a socket; remove it, or listen elsewhere"));
    }
    if (Answers(name)) return InUse(address_);
    ::unlinkat(folder_.get(), name_.c_str(), 0);
  }
  fd_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd_.is_open() ||
      ::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0) {
    return CannotListen(errno, address_);
  }
  // Nobody can connect before listen(2), whatever the umask is.
  if (::fchmodat(folder_.get(), name_.c_str(), address_.is_shared ? 0666 : 0600, 0) != 0 ||
      ::fstatat(folder_.get(), name_.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
      ::listen(fd_.get(), kBacklog) != 0) {
    return CannotListen(errno, address_);
  }
  inode_ = info.st_ino;
  return absl::OkStatus();
}

absl::Status ListenSocket::OpenTcp() {
  const std::string address(absl::StripPrefix(address_.display, kTlsPrefix));
  const size_t colon = address.rfind(':');
  const std::string port = address.substr(colon + 1);
  std::string host = address.substr(0, colon);
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]"))
    host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen at ", address_.display, ": ", host,
                                               " is no address: ", ::gai_strerror(error)));
  }
  const absl::Status status = Listen(found->ai_addr, found->ai_addrlen);
  ::freeaddrinfo(found);
  return status;
}

absl::Status ListenSocket::Listen(const sockaddr* address, unsigned size) {
  fd_ = Fd(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd_.is_open()) return CannotListen(errno, address_);
  const int on = 1;
  // The port of a daemon that has just ended is free again. Accepted sockets inherit NODELAY.
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  sockaddr_storage name{};
  socklen_t name_size = sizeof(name);
  if (::bind(fd_.get(), address, size) != 0 || ::listen(fd_.get(), kBacklog) != 0 ||
      ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&name), &name_size) != 0) {
    return CannotListen(errno, address_);
  }
  const size_t colon = address_.display.rfind(':');
  address_.display = absl::StrCat(address_.display.substr(0, colon + 1), PortOf(name));
  return absl::OkStatus();
}

ListenSocket::~ListenSocket() {
  struct stat info;
  // Not the file of a daemon that has replaced this one.
  if (inode_ != 0 && ::fstatat(folder_.get(), name_.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
      info.st_ino == inode_) {
    ::unlinkat(folder_.get(), name_.c_str(), 0);
  }
}

absl::StatusOr<std::string> LoadOrMakeToken(const std::string& state_dir) {
  const std::string path = absl::StrCat(state_dir, "/", kTokenName);
  absl::StatusOr<std::string> existing = ReadFile(path);
  if (existing.ok()) {
    absl::StripAsciiWhitespace(&*existing);
    if (existing->size() < kMinTokenLength) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, " has no token of at least ", kMinTokenLength,
                       " characters; remove the file and restart trainerd to create a new one"));
    }
    ::chmod(path.c_str(), 0600);
    return existing;
  }
  if (!absl::IsNotFound(existing.status())) return existing.status();
  ASSIGN_OR_RETURN(const std::string token, RandomHex(kTokenBytes));
  RETURN_IF_ERROR(WriteFileAtomic(path, token + "\n", 0600));
  return token;
}

}  // namespace trainerd::server
