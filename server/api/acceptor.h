// SPDX-License-Identifier: Apache-2.0
// Accepts the connections of all addresses, within limits, and hands them to gRPC; those of a unix
// socket by the user at the other end (SO_PEERCRED), whom gRPC does not report. The limits keep
// descriptors free for the database and the jobs, whatever clients open. gRPC's own listeners have
// no limit, and end for good when descriptors run out.
#pragma once

#include <grpcpp/grpcpp.h>
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/base/fd.h"
#include "server/api/access/access.h"
#include "server/api/access/certificates.h"
#include "server/api/listen.h"

namespace trainerd::server {

// Numbers of open connections.
struct ConnectionLimits {
  int total = 0;
  // On all TCP addresses: any user of this machine can connect there, with or without the token.
  int tcp = 0;
  // Of one process, on unix sockets.
  int per_process = 0;
};

// Half of the descriptors, but at most 512, are kept for everything else.
ConnectionLimits LimitsOf(int64_t max_descriptors);

// Thread-safety: Drain and DropConnections may be called from any thread.
class Acceptor {
 public:
  // Opens the listening sockets; connections wait until Start. Errors: of ListenSocket::Open.
  static absl::StatusOr<std::unique_ptr<Acceptor>> Open(const std::vector<ListenAddress>& addresses,
                                                        ConnectionLimits limits);
  // Closes the listening sockets and removes their files.
  ~Acceptor();

  // What is served, with the ports that the system has chosen.
  std::vector<std::string> Addresses() const;
  // Makes gRPC take the connections of each address, with credentials of their own for each of
  // `uids` on a unix socket. Errors: Internal (gRPC refuses the certificates).
  struct Gates {
    const Access& access;
    // Null: there is no TLS address.
    Certificates* certificates = nullptr;
  };
  absl::Status Register(grpc::ServerBuilder* builder, const Gates& gates);
  // Call when gRPC has started.
  void Start();
  // From now on new connections are closed at once. Returns when gRPC gets no further one. Call it
  // before gRPC shuts down, which does not close a connection that comes later.
  void Drain();
  // Shuts down all open connections from below: a peer that does not read cannot delay the end of
  // its calls.
  void DropConnections();

 private:
  struct Gate {
    // Of a unix socket: whose connections; absent: those of all other users, and of TCP.
    std::optional<uint32_t> uid;
    std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> grpc;
  };
  struct Listener {
    std::unique_ptr<ListenSocket> socket;
    // Empty until Register. The last one is for all that the others are not for.
    std::vector<Gate> gates;
  };
  // gRPC owns the descriptor. The connection has ended when the descriptor has another inode.
  struct Connection {
    int fd;
    ino_t inode;
    bool is_unix;
    // 0 on TCP.
    pid_t process = 0;
    // On a unix socket, where the system knows it.
    std::optional<uint32_t> uid = std::nullopt;
  };
  explicit Acceptor(ConnectionLimits limits);

  void Loop();
  // 0, or the errno of accept(2).
  int AcceptOne(Listener& listener);
  bool HasRoom(const Connection& connection) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsWithinLimits(const Connection& connection) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetEnded() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ReportRefused();

  const ConnectionLimits limits_;
  std::vector<Listener> listeners_;
  // Readable when the thread must end.
  Fd stop_;
  std::thread thread_;

  absl::Mutex mutex_;
  std::vector<Connection> connections_ ABSL_GUARDED_BY(mutex_);
  // Number of connections_ at which the ended ones are forgotten.
  size_t forget_at_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Time forgot_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  // The acceptor's thread only.
  absl::Time reported_ = absl::InfinitePast();
};

}  // namespace trainerd::server
