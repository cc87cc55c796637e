// SPDX-License-Identifier: Apache-2.0
// The ladder's rules: more severe only, sooner only.
#include "server/shim/stop_ladder.h"

#include <algorithm>

namespace trainerd::server {

void StopLadder::Raise(internal::Want want, MonotonicMs grace, MonotonicMs now) {
  if (want == internal::CHECKPOINT) return;
  raised_ = std::max(raised_, want);
  if (want == internal::KILL) {
    kill_at_ = std::min(kill_at_.value_or(now), now);
    return;
  }
  // A milder want than the one in force says nothing about how long that one may take.
  if (want == raised_ && grace > 0) BringForward(now + grace);
}

std::optional<internal::Want> StopLadder::Undelivered() const {
  if (raised_ <= delivered_ || raised_ == internal::KILL) return std::nullopt;
  return raised_;
}

void StopLadder::Delivered(internal::Want want) {
  if (want != internal::CHECKPOINT) delivered_ = std::max(delivered_, want);
}

void StopLadder::BringForward(MonotonicMs deadline) {
  deadline_ = deadline_.has_value() ? std::min(*deadline_, deadline) : deadline;
}

StopLadder::Action StopLadder::TakeDue(MonotonicMs now) {
  if (killed_) return Action::kNone;
  if (kill_at_.has_value() && now >= *kill_at_) {
    killed_ = true;
    return Action::kKill;
  }
  if (!terminated_ && deadline_.has_value() && now >= *deadline_) {
    terminated_ = true;
    kill_at_ = std::min(kill_at_.value_or(now + kTermToKillMs), now + kTermToKillMs);
    return Action::kTerminate;
  }
  return Action::kNone;
}

std::optional<MonotonicMs> StopLadder::NextDue() const {
  if (killed_) return std::nullopt;
  std::optional<MonotonicMs> next = kill_at_;
  if (!terminated_ && deadline_.has_value()) next = std::min(next.value_or(*deadline_), *deadline_);
  return next;
}

}  // namespace trainerd::server
