// SPDX-License-Identifier: Apache-2.0
// Actions only become more severe, and deadlines only move earlier.
#include "server/shim/stop_escalation.h"

#include <algorithm>

namespace trainerd::server {

void StopEscalation::Raise(internal::RequestedAction action, MonotonicMs grace, MonotonicMs now) {
  if (action == internal::CHECKPOINT) return;
  raised_ = std::max(raised_, action);
  if (action == internal::KILL) {
    kill_at_ = std::min(kill_at_.value_or(now), now);
    return;
  }
  // The grace of a milder action does not apply to the more severe one in force.
  if (action == raised_ && grace > 0) BringForward(now + grace);
}

std::optional<internal::RequestedAction> StopEscalation::Undelivered() const {
  if (raised_ <= delivered_ || raised_ == internal::KILL) return std::nullopt;
  return raised_;
}

void StopEscalation::Delivered(internal::RequestedAction action) {
  if (action != internal::CHECKPOINT) delivered_ = std::max(delivered_, action);
}

void StopEscalation::BringForward(MonotonicMs deadline) {
  deadline_ = deadline_.has_value() ? std::min(*deadline_, deadline) : deadline;
}

StopEscalation::Action StopEscalation::TakeDue(MonotonicMs now) {
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

std::optional<MonotonicMs> StopEscalation::NextDue() const {
  if (killed_) return std::nullopt;
  std::optional<MonotonicMs> next = kill_at_;
  if (!terminated_ && deadline_.has_value()) next = std::min(next.value_or(*deadline_), *deadline_);
  return next;
}

}  // namespace trainerd::server
