// SPDX-License-Identifier: Apache-2.0
// Blocking calls with one deadline over the frames of framing.h.
#include "server/runs/shim_client.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "absl/time/clock.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/revision.h"
#include "proto/contract/run_dir/framing.h"

namespace trainerd::server {
namespace {

absl::StatusOr<int> ConnectTo(const std::string& attempt_dir) {
  const std::string path = attempt_dir + "/control.sock";
  const int dir_fd = open(attempt_dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (dir_fd < 0) return absl::UnavailableError(attempt_dir + " does not exist");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // A socket address holds 107 bytes and a path can be longer, so the address goes through the
  // directory's descriptor.
  std::snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/control.sock",
                dir_fd);
  // Non-blocking, so that a full backlog is an error and not a wait.
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool connected =
      fd >= 0 && connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  const int error = errno;
  close(dir_fd);
  if (connected) return fd;
  if (fd >= 0) close(fd);
  return absl::UnavailableError(
      std::string(ErrnoStatus(error, "connect to the shim at " + path).message()));
}

}  // namespace

absl::StatusOr<ShimClient> ShimClient::Connect(const std::string& attempt_dir,
                                               absl::Duration timeout, internal::ShimReply* hello) {
  const absl::Time deadline = absl::Now() + timeout;
  ASSIGN_OR_RETURN(const int fd, ConnectTo(attempt_dir));
  ShimClient client(fd, deadline);
  internal::ShimRequest request;
  request.mutable_hello()->set_protocol_min(kProtocolMin);
  request.mutable_hello()->set_protocol_max(kProtocolMax);
  ASSIGN_OR_RETURN(*hello, client.Call(request));
  if (hello->protocol() == 0) return absl::FailedPreconditionError(hello->error());
  return client;
}

ShimClient::ShimClient(ShimClient&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), deadline_(other.deadline_) {}

ShimClient::~ShimClient() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<internal::ShimReply> ShimClient::Call(const internal::ShimRequest& request) {
  RETURN_IF_ERROR(WriteSocketFrame(fd_, request.SerializeAsString()));
  const int64_t left_ms = absl::ToInt64Milliseconds(deadline_ - absl::Now());
  ASSIGN_OR_RETURN(std::optional<std::string> frame,
                   ReadSocketFrame(fd_, static_cast<int>(std::max<int64_t>(left_ms, 0))));
  if (!frame.has_value()) return absl::UnavailableError("the shim closed the connection");
  internal::ShimReply reply;
  if (!reply.ParseFromString(*frame))
    return absl::DataLossError("the shim's reply is not a valid ShimReply");
  return reply;
}

}  // namespace trainerd::server
