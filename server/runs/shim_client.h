// SPDX-License-Identifier: Apache-2.0
// The daemon's side of an attempt's control.sock: one connection, a hello that negotiates the
// protocol version, one request at a time.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/base/fd.h"
#include "trainerd/internal/worker.pb.h"

namespace trainerd::server {

// Not thread-safe. A connection is cheap; make one per use. Calls block until the timeout.
class ShimClient {
 public:
  // Connects to <attempt_dir>/control.sock, a path of any length, and sends a hello; `hello` gets
  // the shim's reply with its identity. `timeout` limits the whole life of the client. Errors:
  // Unavailable (no shim listens), DeadlineExceeded (no reply), FailedPrecondition (no common
  // protocol version).
  static absl::StatusOr<ShimClient> Connect(const std::string& attempt_dir, absl::Duration timeout,
                                            internal::ShimReply* hello);

  absl::StatusOr<internal::ShimReply> Call(const internal::ShimRequest& request);

 private:
  ShimClient(Fd fd, absl::Time deadline) : fd_(std::move(fd)), deadline_(deadline) {}

  Fd fd_;
  const absl::Time deadline_;
};

}  // namespace trainerd::server
