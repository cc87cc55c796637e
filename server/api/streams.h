// SPDX-License-Identifier: Apache-2.0
// The open streams (watchers, log followers, waiters, transfers): one limit for all of them
// protects the daemon from its clients, and those whose token is no longer valid are ended.
#pragma once

#include <functional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace trainerd::server {

// A call that can stay open longer than its token is valid.
class OpenCall {
 public:
  virtual ~OpenCall() = default;
  // The call ends soon with RevokedError. Must not wait, and must not end the call itself: its end
  // calls StreamLimit::Leave, which waits for this.
  virtual void Revoke() = 0;
};

// The result of a call whose token was revoked or has expired.
absl::Status RevokedError();

// Thread-safety: all methods may be called from any thread.
class StreamLimit {
 public:
  explicit StreamLimit(int max) : max_(max) {}
  // `token`: "tokens/TOKEN", or empty. Errors: ResourceExhausted with reason WATCHERS; then Leave
  // has no effect.
  absl::Status Enter(OpenCall* call, const std::string& token);
  void Leave(OpenCall* call);
  // Revokes the calls whose token `is_valid` refuses.
  void EndRevoked(const std::function<bool(const std::string& token)>& is_valid);

 private:
  const int max_;
  absl::Mutex mutex_;
  // The token of each call.
  absl::flat_hash_map<OpenCall*, std::string> calls_ ABSL_GUARDED_BY(mutex_);
};

// For one call that was checked: its place, and its token (empty: none).
struct StreamPermit {
  StreamLimit& limit;
  std::string token = "";
};

}  // namespace trainerd::server
