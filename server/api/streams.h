// SPDX-License-Identifier: Apache-2.0
// The number of open streams (watchers, log followers, waiters). One limit for all of them protects
// the daemon from its clients.
#pragma once

#include <atomic>

#include "absl/status/status.h"

namespace trainerd::server {

// Thread-safety: all methods may be called from any thread.
class StreamLimit {
 public:
  explicit StreamLimit(int max) : max_(max) {}
  // Errors: ResourceExhausted with reason WATCHERS; then Leave must not be called.
  absl::Status Enter();
  void Leave() { open_.fetch_sub(1); }

 private:
  const int max_;
  std::atomic<int> open_{0};
};

}  // namespace trainerd::server
