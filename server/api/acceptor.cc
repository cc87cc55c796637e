// SPDX-License-Identifier: Apache-2.0
#include "server/api/acceptor.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "server/api/access/listener_credentials.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

constexpr int64_t kMaxConnections = 16'384;
// Descriptors of the database, the logs, inotify, shims, children and files that are being read.
constexpr int64_t kMaxReserve = 512;
// Accepted at once, before another address gets its turn.
constexpr int kAcceptsPerTurn = 64;
constexpr size_t kMinForget = 64;
constexpr absl::Duration kForgetEvery = absl::Milliseconds(50);
constexpr absl::Duration kReportEvery = absl::Minutes(1);
constexpr absl::Duration kErrorPause = absl::Milliseconds(100);

ino_t InodeOf(int fd) {
  struct stat info;
  return ::fstat(fd, &info) == 0 ? info.st_ino : 0;
}

std::optional<ucred> PeerOf(int fd) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
  return peer;
}

}  // namespace

ConnectionLimits LimitsOf(int64_t max_descriptors) {
  const int64_t free = max_descriptors - std::min(max_descriptors / 2, kMaxReserve);
  const int total = static_cast<int>(std::clamp<int64_t>(free, 2, kMaxConnections));
  return {.total = total, .tcp = total / 2, .per_process = total / 2};
}

Acceptor::Acceptor(ConnectionLimits limits)
    : limits_(limits), stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

absl::StatusOr<std::unique_ptr<Acceptor>> Acceptor::Open(
    const std::vector<ListenAddress>& addresses, ConnectionLimits limits) {
  std::unique_ptr<Acceptor> acceptor(new Acceptor(limits));
  if (!acceptor->stop_.is_open()) return ErrnoStatus(errno, "create an eventfd");
  for (const ListenAddress& address : addresses) {
    ASSIGN_OR_RETURN(std::unique_ptr<ListenSocket> socket, ListenSocket::Open(address));
    acceptor->listeners_.push_back({.socket = std::move(socket), .gates = {}});
  }
  return acceptor;
}

Acceptor::~Acceptor() {
  const uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof(one));
  if (thread_.joinable()) thread_.join();
}

std::vector<std::string> Acceptor::Addresses() const {
  std::vector<std::string> addresses;
  for (const Listener& listener : listeners_)
    addresses.push_back(listener.socket->address().display);
  return addresses;
}

absl::Status Acceptor::Register(grpc::ServerBuilder* builder, const Gates& gates) {
  using Transport = CallFacts::Transport;
  using Type = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  for (Listener& listener : listeners_) {
    const ListenAddress& address = listener.socket->address();
    std::vector<std::optional<uint32_t>> users;
    if (address.is_unix) {
      for (const uint32_t uid : gates.access.KnownUids()) users.emplace_back(uid);
    }
    users.push_back(std::nullopt);
    for (const std::optional<uint32_t> uid : users) {
      const auto credentials =
          MakeListenerCredentials({.transport = address.is_unix  ? Transport::kUnix
                                                : address.is_tls ? Transport::kTls
                                                                 : Transport::kLoopback,
                                   .uid = uid,
                                   .access = gates.access,
                                   .certificates = gates.certificates});
      if (credentials == nullptr)
        return absl::InternalError(
            absl::StrCat("gRPC refuses the files of tls for ", address.display));
      listener.gates.push_back({.uid = uid,
                                .grpc = builder->experimental().AddExternalConnectionAcceptor(
                                    Type::FROM_FD, credentials)});
    }
  }
  return absl::OkStatus();
}

void Acceptor::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void Acceptor::Drain() {
  // The lock is held while a connection is handed over.
  absl::MutexLock lock(&mutex_);
  draining_ = true;
}

void Acceptor::DropConnections() {
  absl::MutexLock lock(&mutex_);
  for (const Connection& connection : connections_) {
    if (InodeOf(connection.fd) == connection.inode) ::shutdown(connection.fd, SHUT_RDWR);
  }
}

void Acceptor::Loop() {
  std::vector<pollfd> fds = {{stop_.get(), POLLIN, 0}};
  for (const Listener& listener : listeners_) fds.push_back({listener.socket->fd(), POLLIN, 0});
  while (true) {
    if (::poll(fds.data(), fds.size(), -1) < 0) continue;
    if (fds[0].revents != 0) return;
    bool failed = false;
    for (size_t i = 0; i < listeners_.size(); ++i) {
      if (fds[i + 1].revents == 0) continue;
      int error = 0;
      for (int n = 0; n < kAcceptsPerTurn && error == 0; ++n) error = AcceptOne(listeners_[i]);
      failed |= error != 0 && error != EAGAIN && error != ECONNABORTED && error != EINTR;
    }
    // Without a free descriptor the connections stay in the backlog.
    if (failed) ::poll(fds.data(), 1, static_cast<int>(absl::ToInt64Milliseconds(kErrorPause)));
  }
}

int Acceptor::AcceptOne(Listener& listener) {
  Fd fd(::accept4(listener.socket->fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd.is_open()) return errno;
  const bool is_unix = listener.socket->address().is_unix;
  Connection connection{.fd = fd.get(), .inode = InodeOf(fd.get()), .is_unix = is_unix};
  const std::optional<ucred> peer = is_unix ? PeerOf(fd.get()) : std::nullopt;
  if (peer.has_value()) {
    connection.process = peer->pid;
    connection.uid = peer->uid;
  }
  const auto gate =
      std::find_if(listener.gates.begin(), listener.gates.end() - 1,
                   [&](const Gate& candidate) { return candidate.uid == connection.uid; });
  bool refused = false;
  {
    absl::MutexLock lock(&mutex_);
    if (draining_) return 0;
    refused = !HasRoom(connection);
    if (!refused) {
      connections_.push_back(connection);
      grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
      parameters.listener_fd = listener.socket->fd();
      parameters.fd = fd.Release();
      gate->grpc->HandleNewConnection(&parameters);
    }
  }
  if (refused) ReportRefused();
  return 0;
}

bool Acceptor::HasRoom(const Connection& connection) {
  if (connections_.size() >= forget_at_) ForgetEnded();
  if (IsWithinLimits(connection)) return true;
  // A flood of connections must not cost a pass over all of them each.
  if (SteadyNow() < forgot_ + kForgetEvery) return false;
  ForgetEnded();
  return IsWithinLimits(connection);
}

bool Acceptor::IsWithinLimits(const Connection& connection) const {
  if (static_cast<int>(connections_.size()) >= limits_.total) return false;
  int tcp = 0, of_process = 0;
  for (const Connection& other : connections_) {
    tcp += !other.is_unix;
    of_process += other.is_unix && other.process == connection.process;
  }
  if (!connection.is_unix) return tcp < limits_.tcp;
  return connection.process == 0 || of_process < limits_.per_process;
}

void Acceptor::ForgetEnded() {
  std::erase_if(connections_, [](const Connection& connection) {
    return InodeOf(connection.fd) != connection.inode;
  });
  forget_at_ = 2 * connections_.size() + kMinForget;
  forgot_ = SteadyNow();
}

void Acceptor::ReportRefused() {
  const absl::Time now = SteadyNow();
  if (now < reported_ + kReportEvery) return;
  reported_ = now;
  spdlog::warn(
      "connections are refused: at most {} may be open, {} of them on TCP and {} of one process; "
      "raise the limit of open files (RLIMIT_NOFILE) for more",
      limits_.total, limits_.tcp, limits_.per_process);
}

}  // namespace trainerd::server
