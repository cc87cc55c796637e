// SPDX-License-Identifier: Apache-2.0
// Bearer tokens: the commands, and the table in memory that each call is checked against. A call
// writes nothing: when a token was last used is stored once per minute at most, by a thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/base/process/wake_up.h"
#include "server/store/caller.h"
#include "server/store/rows/access/token_rows.h"
#include "server/store/store.h"
#include "trainerd/v1/trainer.pb.h"

namespace trainerd::server {

// Thread-safety: all methods may be called from any thread.
class Tokens {
 public:
  // `store` outlives the object. Errors: of the database.
  static absl::StatusOr<std::unique_ptr<Tokens>> Open(Store& store);
  // Stores the times of use.
  ~Tokens();

  // The token with this secret, if it is neither revoked nor expired. Notes the use.
  std::optional<v1::Token> Find(std::string_view secret);
  // Whether the token "tokens/TOKEN" is neither revoked nor expired.
  bool IsValid(const std::string& name) const;

  absl::StatusOr<v1::CreateTokenResponse> Create(const v1::CreateTokenRequest& request,
                                                 const Caller& caller);
  absl::StatusOr<v1::ListTokensResponse> List(const v1::ListTokensRequest& request);
  // Errors: NotFound with reason TOKEN_NOT_FOUND.
  absl::StatusOr<v1::Token> Revoke(const v1::RevokeTokenRequest& request, const Caller& caller);

  // Starts the thread. It calls `check` once per second while a token can expire and in the minute
  // after one has ended, at least once per minute, and soon after a token was revoked.
  void Start(std::function<void()> check);
  // No call of `check` after it.
  void Stop();

 private:
  struct Entry {
    v1::Token token;
    // The minute of the last use, and the one that is stored.
    absl::Time used = absl::InfinitePast();
    absl::Time stored = absl::InfinitePast();
  };
  explicit Tokens(Store& store) : store_(store) {}
  void Loop();
  bool IsUsable(const Entry& entry) const;
  absl::Duration UntilNextCheck() const;
  // Stores the times of use, and forgets old tokens.
  absl::Status Maintain();

  Store& store_;
  std::function<void()> check_;
  mutable absl::Mutex mutex_;
  // By the SHA-256 of the secret.
  absl::flat_hash_map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  WakeUp wake_up_;
  std::thread thread_;
};

}  // namespace trainerd::server
