// SPDX-License-Identifier: Apache-2.0
// Frames are [u32 little-endian length][message], read and written without blocking.
#include "server/shim/control_server.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/control_socket.h"
#include "proto/contract/run_dir/framing.h"

namespace trainerd::server {

absl::StatusOr<std::unique_ptr<ControlServer>> ControlServer::Listen(const std::string& attempt_dir,
                                                                     Handler handler) {
  const std::string path = absl::StrCat(attempt_dir, "/", kControlSocketName);
  ASSIGN_OR_RETURN(const ControlSocketAddress address, ControlSocketAddress::Of(attempt_dir));
  unlinkat(address.attempt_dir.get(), kControlSocketName, 0);
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.is_open() || bind(fd.get(), address.get(), sizeof(address.address)) != 0 ||
      listen(fd.get(), 16) != 0) {
    return ErrnoStatus(errno, "listen at " + path);
  }
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(fd), path, std::move(handler)));
}

ControlServer::~ControlServer() { unlink(path_.c_str()); }

void ControlServer::AddPollFds(std::vector<pollfd>* fds) const {
  // With kMaxClients connected, new clients wait in the backlog.
  fds->push_back({clients_.size() < kMaxClients ? listen_fd_.get() : -1, POLLIN, 0});
  for (const Client& client : clients_) {
    const int writing = client.out.empty() ? 0 : POLLOUT;
    fds->push_back({client.fd.get(), static_cast<short>(POLLIN | writing), 0});
  }
}

void ControlServer::Serve(const pollfd* fds) {
  const bool new_clients = (fds[0].revents & POLLIN) != 0;
  size_t index = 1;
  for (auto client = clients_.begin(); client != clients_.end(); ++index) {
    const short events = fds[index].revents;
    const bool keep = events == 0 || (ReadRequests(*client) && FlushReplies(*client));
    if (keep) {
      ++client;
    } else {
      client = clients_.erase(client);
    }
  }
  if (new_clients) Accept();
}

void ControlServer::Accept() {
  while (clients_.size() < kMaxClients) {
    const int fd = accept4(listen_fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    clients_.push_back({.fd = Fd(fd), .in = {}, .out = {}});
  }
}

bool ControlServer::ReadRequests(Client& client) {
  char buffer[4096];
  while (true) {
    const ssize_t n = read(client.fd.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) return false;
    client.in.append(buffer, static_cast<size_t>(n));
    if (client.in.size() > 2 * kMaxRequestBytes) break;
  }
  while (client.in.size() >= kSocketHeaderBytes) {
    const uint32_t length = SocketFrameLength(client.in);
    if (length > kMaxRequestBytes) return false;
    if (client.in.size() < kSocketHeaderBytes + length) break;
    internal::ShimRequest request;
    internal::ShimReply reply;
    if (request.ParseFromString(client.in.substr(kSocketHeaderBytes, length))) {
      reply = handler_(request);
    } else {
      reply.set_error("the request is not a valid ShimRequest");
    }
    client.in.erase(0, kSocketHeaderBytes + length);
    AppendSocketFrame(reply.SerializeAsString(), &client.out);
    if (client.out.size() > 4 * kMaxRequestBytes) return false;
  }
  return true;
}

bool ControlServer::FlushReplies(Client& client) {
  while (!client.out.empty()) {
    const ssize_t n = send(client.fd.get(), client.out.data(), client.out.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return true;
    if (n <= 0) return false;
    client.out.erase(0, static_cast<size_t>(n));
  }
  return true;
}

}  // namespace trainerd::server
