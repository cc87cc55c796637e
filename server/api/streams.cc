// SPDX-License-Identifier: Apache-2.0
#include "server/api/streams.h"

#include "absl/strings/str_cat.h"
#include "proto/base/format.h"
#include "server/store/errors.h"

namespace trainerd::server {

absl::Status RevokedError() {
  return ErrorWithReason(absl::StatusCode::kUnauthenticated, "TOKEN_INVALID",
                         "the token of this call was revoked or has expired while the call was "
                         "open; use another token (trainctl --token-file)");
}

absl::Status StreamLimit::Enter(OpenCall* call, const std::string& token) {
  absl::MutexLock lock(&mutex_);
  if (static_cast<int>(calls_.size()) < max_) {
    calls_[call] = token;
    return absl::OkStatus();
  }
  return WithRetry(ErrorWithReason(absl::StatusCode::kResourceExhausted, "WATCHERS",
                                   absl::StrCat(Counted(max_, "stream"), max_ == 1 ? " is" : " are",
                                                " open, which is the limit (max_watchers); close "
                                                "some and call again")),
                   absl::Seconds(10));
}

void StreamLimit::Leave(OpenCall* call) {
  absl::MutexLock lock(&mutex_);
  calls_.erase(call);
}

void StreamLimit::EndRevoked(const std::function<bool(const std::string& token)>& is_valid) {
  absl::MutexLock lock(&mutex_);
  // Many calls share a token.
  absl::flat_hash_map<std::string_view, bool> valid = {{"", true}};
  for (const auto& [call, token] : calls_) {
    const auto [known, is_new] = valid.try_emplace(token, false);
    if (is_new) known->second = is_valid(token);
    if (!known->second) call->Revoke();
  }
}

}  // namespace trainerd::server
