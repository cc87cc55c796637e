// SPDX-License-Identifier: Apache-2.0
// The open streams (watchers, log followers, waiters, transfers): one limit for all of them
// protects the daemon from its clients, and those whose token is no longer valid are ended.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/base/time.h"

namespace trainerd::server {

// A call that can stay open longer than its token is valid.
class OpenCall {
 public:
  virtual ~OpenCall() = default;
  // The call ends soon with RevokedError. Must not wait, and must not end the call itself: its end
  // calls StreamLimit::Leave, which waits for this.
  virtual void Revoke() = 0;
  // Revoke was not enough, because a message is outstanding that the client does not read: cancels
  // the call. A call with one reply ends in any case.
  virtual void Break() {}
};

// The result of a call whose token was revoked or has expired.
absl::Status RevokedError();

// A call whose token is no longer valid is broken this long after Revoke.
inline constexpr absl::Duration kRevokePatience = absl::Seconds(2);

// Thread-safety: all methods may be called from any thread.
class StreamLimit {
 public:
  using Clock = std::function<absl::Time()>;
  explicit StreamLimit(int max, Clock clock = SteadyNow) : max_(max), clock_(std::move(clock)) {}
  // `token`: "tokens/TOKEN", or empty. Errors: ResourceExhausted with reason WATCHERS; then Leave
  // has no effect.
  absl::Status Enter(OpenCall* call, const std::string& token);
  void Leave(OpenCall* call);
  // Revokes the calls whose token `is_valid` refuses, and breaks those that did not end since. Call
  // it again after kRevokePatience.
  void EndRevoked(const std::function<bool(const std::string& token)>& is_valid);

 private:
  struct Entry {
    // Many calls share a token.
    std::string token;
    absl::Time break_at = absl::InfiniteFuture();
  };
  // Revokes, and returns what is to be broken.
  std::vector<OpenCall*> Revoke(const std::function<bool(const std::string& token)>& is_valid);
  bool IsRevoked(OpenCall* call);

  const int max_;
  const Clock clock_;
  // Held while calls are broken, so that they live until then. gRPC can end a call, and so call
  // Leave, within Break: hence recursive, and taken before mutex_.
  std::recursive_mutex break_mutex_;
  absl::Mutex mutex_;
  absl::flat_hash_map<OpenCall*, Entry> calls_ ABSL_GUARDED_BY(mutex_);
};

// For one call that was checked: its place, and its token (empty: none).
struct StreamPermit {
  StreamLimit& limit;
  std::string token = "";
};

}  // namespace trainerd::server
