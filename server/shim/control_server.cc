// SPDX-License-Identifier: Apache-2.0
// Frames are [u32 little-endian length][message], read and written without blocking.
#include "server/shim/control_server.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <utility>

#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

namespace trainerd::server {
namespace {

constexpr char kSocketName[] = "control.sock";

uint32_t FrameLength(const std::string& bytes) {
  uint32_t length = 0;
  for (int i = 0; i < 4; ++i) {
    length |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  return length;
}

void AppendFrame(const std::string& payload, std::string* out) {
  const uint32_t length = static_cast<uint32_t>(payload.size());
  for (int shift = 0; shift < 32; shift += 8) out->push_back(static_cast<char>(length >> shift));
  out->append(payload);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ControlServer>> ControlServer::Listen(const std::string& attempt_dir,
                                                                     Handler handler) {
  const std::string path = attempt_dir + "/" + kSocketName;
  const int dir_fd = open(attempt_dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (dir_fd < 0) return ErrnoStatus(errno, "open " + attempt_dir);
  unlinkat(dir_fd, kSocketName, 0);
  // A socket address holds 107 bytes and a path can be longer, so the address goes through the
  // directory's descriptor.
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir_fd,
                kSocketName);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool listening = fd >= 0 &&
                         bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
                         listen(fd, 16) == 0;
  const int error = errno;
  close(dir_fd);
  if (!listening) {
    if (fd >= 0) close(fd);
    return ErrnoStatus(error, "listen at " + path);
  }
  return std::unique_ptr<ControlServer>(new ControlServer(fd, path, std::move(handler)));
}

ControlServer::~ControlServer() {
  for (Client& client : clients_) close(client.fd);
  close(listen_fd_);
  unlink(path_.c_str());
}

void ControlServer::AddPollFds(std::vector<pollfd>* fds) const {
  // With kMaxClients connected, new clients wait in the backlog.
  fds->push_back({clients_.size() < kMaxClients ? listen_fd_ : -1, POLLIN, 0});
  for (const Client& client : clients_) {
    const int writing = client.out.empty() ? 0 : POLLOUT;
    fds->push_back({client.fd, static_cast<short>(POLLIN | writing), 0});
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
      close(client->fd);
      client = clients_.erase(client);
    }
  }
  if (new_clients) Accept();
}

void ControlServer::Accept() {
  while (clients_.size() < kMaxClients) {
    const int fd = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    clients_.push_back({.fd = fd, .in = {}, .out = {}});
  }
}

bool ControlServer::ReadRequests(Client& client) {
  char buffer[4096];
  while (true) {
    const ssize_t n = read(client.fd, buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) return false;
    client.in.append(buffer, static_cast<size_t>(n));
    if (client.in.size() > 2 * kMaxRequestBytes) break;
  }
  while (client.in.size() >= 4) {
    const uint32_t length = FrameLength(client.in);
    if (length > kMaxRequestBytes) return false;
    if (client.in.size() < 4 + length) break;
    internal::ShimRequest request;
    internal::ShimReply reply;
    if (request.ParseFromString(client.in.substr(4, length))) {
      reply = handler_(request);
    } else {
      reply.set_error("the request is not a valid ShimRequest");
    }
    client.in.erase(0, 4 + length);
    AppendFrame(reply.SerializeAsString(), &client.out);
    if (client.out.size() > 4 * kMaxRequestBytes) return false;
  }
  return true;
}

bool ControlServer::FlushReplies(Client& client) {
  while (!client.out.empty()) {
    const ssize_t n = send(client.fd, client.out.data(), client.out.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return true;
    if (n <= 0) return false;
    client.out.erase(0, static_cast<size_t>(n));
  }
  return true;
}

}  // namespace trainerd::server
