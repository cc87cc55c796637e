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
    calls_[call] = {.token = token};
    return absl::OkStatus();
  }
  return WithRetry(ErrorWithReason(absl::StatusCode::kResourceExhausted, "WATCHERS",
                                   absl::StrCat(Counted(max_, "stream"), max_ == 1 ? " is" : " are",
                                                " open, which is the limit (max_watchers); close "
                                                "some and call again")),
                   absl::Seconds(10));
}

void StreamLimit::Leave(OpenCall* call) {
  const std::lock_guard<std::recursive_mutex> not_while_breaking(break_mutex_);
  absl::MutexLock lock(&mutex_);
  calls_.erase(call);
}

bool StreamLimit::IsRevoked(OpenCall* call) {
  absl::MutexLock lock(&mutex_);
  const auto found = calls_.find(call);
  return found != calls_.end() && found->second.break_at != absl::InfiniteFuture();
}

std::vector<OpenCall*> StreamLimit::Revoke(
    const std::function<bool(const std::string& token)>& is_valid) {
  const absl::Time now = clock_();
  std::vector<OpenCall*> late;
  absl::MutexLock lock(&mutex_);
  absl::flat_hash_map<std::string_view, bool> valid = {{"", true}};
  for (auto& [call, entry] : calls_) {
    const auto [known, is_new] = valid.try_emplace(entry.token, false);
    if (is_new) known->second = is_valid(entry.token);
    if (known->second) continue;
    if (now >= entry.break_at) late.push_back(call);
    if (entry.break_at != absl::InfiniteFuture()) continue;
    entry.break_at = now + kRevokePatience;
    call->Revoke();
  }
  return late;
}

void StreamLimit::EndRevoked(const std::function<bool(const std::string& token)>& is_valid) {
  const std::lock_guard<std::recursive_mutex> breaking(break_mutex_);
  for (OpenCall* call : Revoke(is_valid)) {
    // The end of one can be the end of another.
    if (IsRevoked(call)) call->Break();
  }
}

}  // namespace trainerd::server
