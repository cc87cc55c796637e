// SPDX-License-Identifier: Apache-2.0
#include "server/outbox/notify_child.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/base/atomic_file.h"
#include "proto/base/process/process.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/run_dir/framing.h"

namespace trainerd::server {
namespace {

constexpr size_t kReadBytes = 64 << 10;
// A result has one line of text.
constexpr size_t kMaxResultBytes = 64 << 10;
// After SIGTERM.
constexpr absl::Duration kEndTimeout = absl::Seconds(1);
constexpr absl::Duration kEndPoll = absl::Milliseconds(2);

bool WouldBlock(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

}  // namespace

absl::StatusOr<std::unique_ptr<NotifyChild>> NotifyChild::Start(const std::string& program) {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
    return ErrnoStatus(errno, "create a socket pair");
  Fd ours(fds[0]);
  const Fd theirs(fds[1]);
  ASSIGN_OR_RETURN(const pid_t pid, SpawnProcess({.argv = {program},
                                                  .fds = {theirs.get(), -1, STDERR_FILENO},
                                                  .working_directory = "/",
                                                  .ends_with_caller = true,
                                                  .caller_end_signal = SIGTERM}));
  return std::unique_ptr<NotifyChild>(new NotifyChild(pid, std::move(ours)));
}

NotifyChild::~NotifyChild() { End(); }

void NotifyChild::Send(const internal::Delivery& delivery) {
  AppendSocketFrame(delivery.SerializeAsString(), &out_);
}

pollfd NotifyChild::Events() const {
  return {.fd = socket_.get(),
          .events = static_cast<short>(out_.empty() ? POLLIN : POLLIN | POLLOUT),
          .revents = 0};
}

absl::Status NotifyChild::Exchange(std::vector<internal::DeliveryResult>* results) {
  absl::Status sent = SendSome();
  const bool open = ReceiveSome();
  RETURN_IF_ERROR(TakeFrames(results));
  RETURN_IF_ERROR(sent);
  if (open) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("trainerd-notify ended with ", End()));
}

absl::Status NotifyChild::SendSome() {
  while (!out_.empty()) {
    const ssize_t sent =
        ::send(socket_.get(), out_.data(), out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      // The end of the stream reports a child that has exited.
      return WouldBlock(errno) || errno == EPIPE || errno == ECONNRESET
                 ? absl::OkStatus()
                 : ErrnoStatus(errno, "send to trainerd-notify");
    }
    out_.erase(0, static_cast<size_t>(sent));
  }
  return absl::OkStatus();
}

bool NotifyChild::ReceiveSome() {
  char buffer[kReadBytes];
  while (true) {
    const ssize_t got = ::recv(socket_.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
    if (got == 0) return false;
    if (got < 0) return WouldBlock(errno);
    in_.append(buffer, static_cast<size_t>(got));
  }
}

absl::Status NotifyChild::TakeFrames(std::vector<internal::DeliveryResult>* results) {
  size_t taken = 0;
  while (in_.size() - taken >= kSocketHeaderBytes) {
    const size_t length = SocketFrameLength(std::string_view(in_).substr(taken));
    if (length > kMaxResultBytes)
      return absl::UnavailableError("trainerd-notify sent something that is no result");
    if (in_.size() - taken < kSocketHeaderBytes + length) break;
    if (!results->emplace_back().ParseFromArray(in_.data() + taken + kSocketHeaderBytes,
                                                static_cast<int>(length))) {
      results->pop_back();
      return absl::UnavailableError("trainerd-notify sent something that is no result");
    }
    taken += kSocketHeaderBytes + length;
  }
  in_.erase(0, taken);
  return absl::OkStatus();
}

std::string NotifyChild::End() {
  if (pid_ <= 0) return "";
  // SIGTERM lets it kill the commands that it runs. Without effect if it has exited by itself.
  ::kill(pid_, SIGTERM);
  const absl::Time deadline = SteadyNow() + kEndTimeout;
  int wait_status = 0;
  while (::waitpid(pid_, &wait_status, WNOHANG) == 0) {
    if (SteadyNow() >= deadline) {
      ::kill(pid_, SIGKILL);
      while (::waitpid(pid_, &wait_status, 0) < 0 && errno == EINTR) {
      }
      break;
    }
    absl::SleepFor(kEndPoll);
  }
  pid_ = -1;
  return ProcessExit::FromWaitStatus(wait_status).ToString();
}

}  // namespace trainerd::server
