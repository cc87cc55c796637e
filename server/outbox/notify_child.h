// SPDX-License-Identifier: Apache-2.0
// The daemon's end of its child trainerd-notify: requests to it and results from it, as frames of a
// socket. Never blocks, whatever the child does.
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/base/fd.h"
#include "trainerd/internal/notify.pb.h"

namespace trainerd::server {

// Not thread-safe.
class NotifyChild {
 public:
  // The kernel sends the child SIGTERM when the calling thread ends, also if by kill -9: it then
  // kills the commands that it runs. Errors: of SpawnProcess.
  static absl::StatusOr<std::unique_ptr<NotifyChild>> Start(const std::string& program);
  // Ends the child, within 1 s, and reaps it.
  ~NotifyChild();

  void Send(const internal::Delivery& delivery);

  // For poll(2): readable, and writable while something is to be sent.
  pollfd Events() const;
  // Sends and receives what is possible now. Errors: Unavailable once the child has exited, or has
  // sent something else than results, with what happened. `results` is filled in either case.
  absl::Status Exchange(std::vector<internal::DeliveryResult>* results);

 private:
  NotifyChild(pid_t pid, Fd socket) : pid_(pid), socket_(std::move(socket)) {}
  absl::Status SendSome();
  // False at the end of the stream.
  bool ReceiveSome();
  absl::Status TakeFrames(std::vector<internal::DeliveryResult>* results);
  // As the destructor. Returns how it ended.
  std::string End();

  pid_t pid_;
  Fd socket_;
  std::string out_, in_;
};

}  // namespace trainerd::server
