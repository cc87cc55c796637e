// SPDX-License-Identifier: Apache-2.0
// The daemon's side of an attempt's control.sock: one connection, a hello that settles the
// protocol, one request after another.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "trainerd/internal/worker.pb.h"

namespace trainerd::server {

// Not thread-safe; connections are cheap, make one per use.
class ShimClient {
 public:
  // Connects to <attempt_dir>/control.sock, whatever the length of that path, and says hello;
  // `hello` gets the shim's answer, with its identity. `timeout` bounds the whole life of the
  // client. Errors: Unavailable (nobody listens), DeadlineExceeded (it does not answer),
  // FailedPrecondition (no protocol in common).
  static absl::StatusOr<ShimClient> Connect(const std::string& attempt_dir, absl::Duration timeout,
                                            internal::ShimReply* hello);
  ShimClient(ShimClient&& other) noexcept;
  ShimClient& operator=(ShimClient&&) = delete;
  ~ShimClient();

  absl::StatusOr<internal::ShimReply> Call(const internal::ShimRequest& request);

 private:
  ShimClient(int fd, absl::Time deadline) : fd_(fd), deadline_(deadline) {}

  int fd_;
  const absl::Time deadline_;
};

}  // namespace trainerd::server
