// SPDX-License-Identifier: Apache-2.0
// Blocking calls with one deadline over the frames of framing.h.
#include "server/runs/shim_client.h"

#include <errno.h>
#include <sys/socket.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/revision.h"
#include "proto/contract/run_dir/control_socket.h"
#include "proto/contract/run_dir/framing.h"

namespace trainerd::server {
namespace {

absl::StatusOr<Fd> ConnectTo(const std::string& attempt_dir) {
  const absl::StatusOr<ControlSocketAddress> address = ControlSocketAddress::Of(attempt_dir);
  if (!address.ok()) return absl::UnavailableError(attempt_dir + " does not exist");
  // Non-blocking, so that a full backlog is an error and not a wait.
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.is_open() && connect(fd.get(), address->get(), sizeof(address->address)) == 0) return fd;
  const int error = errno;
  const std::string what =
      absl::StrCat("connect to the shim at ", attempt_dir, "/", kControlSocketName);
  return absl::UnavailableError(ErrnoStatus(error, what).message());
}

}  // namespace

absl::StatusOr<ShimClient> ShimClient::Connect(const std::string& attempt_dir,
                                               absl::Duration timeout, internal::ShimReply* hello) {
  const absl::Time deadline = SteadyNow() + timeout;
  ASSIGN_OR_RETURN(Fd fd, ConnectTo(attempt_dir));
  ShimClient client(std::move(fd), deadline);
  internal::ShimRequest request;
  request.mutable_hello()->set_protocol_min(kProtocolMin);
  request.mutable_hello()->set_protocol_max(kProtocolMax);
  ASSIGN_OR_RETURN(*hello, client.Call(request));
  if (hello->protocol() == 0) return absl::FailedPreconditionError(hello->error());
  return client;
}

absl::StatusOr<internal::ShimReply> ShimClient::Call(const internal::ShimRequest& request) {
  RETURN_IF_ERROR(WriteSocketFrame(fd_.get(), request.SerializeAsString()));
  const int64_t left_ms = absl::ToInt64Milliseconds(deadline_ - SteadyNow());
  ASSIGN_OR_RETURN(std::optional<std::string> frame,
                   ReadSocketFrame(fd_.get(), static_cast<int>(std::max<int64_t>(left_ms, 0))));
  if (!frame.has_value()) return absl::UnavailableError("the shim closed the connection");
  internal::ShimReply reply;
  if (!reply.ParseFromString(*frame))
    return absl::DataLossError("the shim's reply is not a valid ShimReply");
  return reply;
}

}  // namespace trainerd::server
