// SPDX-License-Identifier: Apache-2.0
// The action requested of the worker, and when its deadline requires SIGTERM and then SIGKILL.
// Pure: the caller passes the time.
#pragma once

#include <cstdint>
#include <optional>

#include "trainerd/internal/worker.pb.h"

namespace trainerd::server {

// Milliseconds of a monotonic clock.
using MonotonicMs = int64_t;

class StopEscalation {
 public:
  enum class Action { kNone, kTerminate, kKill };
  // Time from SIGTERM to SIGKILL.
  static constexpr MonotonicMs kTermToKillMs = 2000;

  // Requests an action with a grace (0: no deadline). A deadline only moves earlier, and holds
  // whether or not the action can be delivered. KILL is due at once. CHECKPOINT has no effect here.
  void Raise(internal::RequestedAction action, MonotonicMs grace, MonotonicMs now);
  // The action that the worker must still receive: the most severe one raised, until Delivered
  // reports it or a more severe one. KILL is never delivered.
  std::optional<internal::RequestedAction> Undelivered() const;
  void Delivered(internal::RequestedAction action);
  // Moves the deadline to `deadline`, if that is earlier.
  void BringForward(MonotonicMs deadline);
  // The signal that is due now; each is returned once.
  Action TakeDue(MonotonicMs now);
  // When TakeDue must be called next; nullopt when no signal is planned.
  std::optional<MonotonicMs> NextDue() const;

  // The most severe action that the worker has received; KILL once it was requested.
  internal::RequestedAction action() const {
    return raised_ == internal::KILL ? internal::KILL : delivered_;
  }
  // Whether SIGTERM or SIGKILL was due.
  bool used_force() const { return terminated_ || killed_; }

 private:
  internal::RequestedAction raised_ = internal::REQUESTED_ACTION_UNSPECIFIED;
  internal::RequestedAction delivered_ = internal::REQUESTED_ACTION_UNSPECIFIED;
  std::optional<MonotonicMs> deadline_;
  std::optional<MonotonicMs> kill_at_;
  bool terminated_ = false;
  bool killed_ = false;
};

}  // namespace trainerd::server
