// SPDX-License-Identifier: Apache-2.0
#include "server/api/listen.h"

#include <fcntl.h>
#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/security/server_credentials.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/rand.h>
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
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/state_dir.h"

namespace trainerd::server {
namespace {

constexpr size_t kTokenBytes = 32;
constexpr size_t kMinTokenLength = 16;
constexpr char kHealthPrefix[] = "/grpc.health.v1.Health/";
constexpr int kBacklog = 512;

// Takes the same time for a wrong token as for the right one.
bool SameToken(absl::string_view a, absl::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned char different = 0;
  for (size_t i = 0; i < a.size(); ++i) different |= static_cast<unsigned char>(a[i] ^ b[i]);
  return different == 0;
}

class TokenCheck final : public grpc::AuthMetadataProcessor {
 public:
  explicit TokenCheck(std::string token) : expected_(absl::StrCat("Bearer ", token)) {}
  bool IsBlocking() const override { return false; }
  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext*, OutputMetadata* consumed,
                       OutputMetadata*) override {
    // Orchestrators probe without a token. The answer has nothing but a state.
    const auto path = metadata.find(":path");
    if (path != metadata.end() && path->second.starts_with(kHealthPrefix)) return grpc::Status::OK;
    const auto range = metadata.equal_range("authorization");
    for (auto it = range.first; it != range.second; ++it) {
      if (SameToken({it->second.data(), it->second.size()}, expected_)) {
        consumed->insert({"authorization", std::string(it->second.data(), it->second.size())});
        return grpc::Status::OK;
      }
    }
    return grpc::Status(
        grpc::StatusCode::UNAUTHENTICATED,
        range.first == range.second
            ? "this address requires `authorization: Bearer TOKEN` in each call; the token is in "
              "the file `token` of the daemon's state directory (trainctl --token-file)"
            : "the token was refused, because it is not the token of this daemon; the valid one is "
              "in the file `token` of the daemon's state directory (trainctl --token-file)");
  }

 private:
  const std::string expected_;
};

absl::Status Refused(const std::string& listen) {
  return absl::InvalidArgumentError(absl::StrCat(
      "listen: \"", listen,
      "\" is refused: trainerd serves unix sockets (\"unix\" or unix:/PATH) and loopback addresses "
      "(127.0.0.1:PORT or [::1]:PORT); beyond this machine calls would be neither encrypted nor "
      "authenticated. Forward the port instead, for example ssh -L"));
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

// host is 127.0.0.1 or [::1].
sockaddr_storage TcpName(const std::string& host, int port, socklen_t* size) {
  sockaddr_storage storage{};
  if (host == "[::1]") {
    auto* name = reinterpret_cast<sockaddr_in6*>(&storage);
    name->sin6_family = AF_INET6;
    name->sin6_addr = in6addr_loopback;
    name->sin6_port = htons(static_cast<uint16_t>(port));
    *size = sizeof(*name);
  } else {
    auto* name = reinterpret_cast<sockaddr_in*>(&storage);
    name->sin_family = AF_INET;
    name->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    name->sin_port = htons(static_cast<uint16_t>(port));
    *size = sizeof(*name);
  }
  return storage;
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
  const size_t colon = listen.rfind(':');
  int port = -1;
  if (colon == std::string::npos || !absl::SimpleAtoi(listen.substr(colon + 1), &port) ||
      port < 0 || port > 65535) {
    return Refused(listen);
  }
  const std::string host = listen.substr(0, colon);
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
  if (::fchmodat(folder_.get(), name_.c_str(), 0600, 0) != 0 ||
      ::fstatat(folder_.get(), name_.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
      ::listen(fd_.get(), kBacklog) != 0) {
    return CannotListen(errno, address_);
  }
  inode_ = info.st_ino;
  return absl::OkStatus();
}

absl::Status ListenSocket::OpenTcp() {
  const size_t colon = address_.display.rfind(':');
  const std::string host = address_.display.substr(0, colon);
  int port = 0;
  TRAINERD_CHECK(absl::SimpleAtoi(address_.display.substr(colon + 1), &port));
  socklen_t size = 0;
  sockaddr_storage name = TcpName(host, port, &size);
  fd_ = Fd(::socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd_.is_open()) return CannotListen(errno, address_);
  const int on = 1;
  // The port of a daemon that has just ended is free again. Accepted sockets inherit NODELAY.
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (::bind(fd_.get(), reinterpret_cast<sockaddr*>(&name), size) != 0 ||
      ::listen(fd_.get(), kBacklog) != 0 ||
      ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&name), &size) != 0) {
    return CannotListen(errno, address_);
  }
  address_.display = absl::StrCat(host, ":", PortOf(name));
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
  std::string random(kTokenBytes, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(random.data()), kTokenBytes) != 1) {
    return absl::InternalError("cannot get random bytes for a token");
  }
  const std::string token = ToHex(random);
  RETURN_IF_ERROR(WriteFileAtomic(path, token + "\n", 0600));
  return token;
}

std::shared_ptr<grpc::ServerCredentials> MakeCredentials(const ListenAddress& address,
                                                         const std::string& token) {
  if (address.is_unix) return grpc::InsecureServerCredentials();
  auto credentials = grpc::experimental::LocalServerCredentials(LOCAL_TCP);
  credentials->SetAuthMetadataProcessor(std::make_shared<TokenCheck>(token));
  return credentials;
}

}  // namespace trainerd::server
