// SPDX-License-Identifier: Apache-2.0
// The shim's control socket. Serves several clients at once and answers each client's frames in
// order. Never blocks: a client that does not read its replies is disconnected.
#pragma once

#include <poll.h>

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/base/fd.h"
#include "trainerd/internal/worker.pb.h"

namespace trainerd::server {

// Not thread-safe: one poll loop owns it.
class ControlServer {
 public:
  using Handler = std::function<internal::ShimReply(const internal::ShimRequest&)>;
  static constexpr size_t kMaxClients = 32;
  static constexpr uint32_t kMaxRequestBytes = 64 << 10;

  // Listens at <attempt_dir>/control.sock; the path can have any length. The caller's umask sets
  // the mode.
  static absl::StatusOr<std::unique_ptr<ControlServer>> Listen(const std::string& attempt_dir,
                                                               Handler handler);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  // Appends the descriptors to poll. Serve takes the results in the same order.
  void AddPollFds(std::vector<pollfd>* fds) const;
  void Serve(const pollfd* fds);

 private:
  struct Client {
    Fd fd;
    std::string in, out;
  };
  ControlServer(Fd listen_fd, std::string path, Handler handler)
      : listen_fd_(std::move(listen_fd)), path_(std::move(path)), handler_(std::move(handler)) {}
  void Accept();
  // False: disconnect the client.
  bool ReadRequests(Client& client);
  bool FlushReplies(Client& client);

  const Fd listen_fd_;
  const std::string path_;
  const Handler handler_;
  std::list<Client> clients_;
};

}  // namespace trainerd::server
