// SPDX-License-Identifier: Apache-2.0
// What is wanted of the worker and when force is due: a want, its grace, then SIGTERM, then
// SIGKILL. Pure: the caller brings the time.
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
  // From SIGTERM to SIGKILL.
  static constexpr MonotonicMs kTermToKillMs = 2000;

  // Takes a want with its grace (0 = no deadline). A deadline is only ever brought forward; it
  // holds whether or not the worker can be told. KILL is due at once. CHECKPOINT is beside the
  // ladder.
  void Raise(internal::RequestedAction action, MonotonicMs grace, MonotonicMs now);
  // What the worker is still to be told: the most severe want that was raised, until Delivered says
  // that it has that one or a more severe one. KILL is not told.
  std::optional<internal::RequestedAction> Undelivered() const;
  void Delivered(internal::RequestedAction action);
  // Sets the deadline alone.
  void BringForward(MonotonicMs deadline);
  // What is due now; each action is returned once.
  Action TakeDue(MonotonicMs now);
  // When TakeDue is to be asked next; nullopt = nothing is planned.
  std::optional<MonotonicMs> NextDue() const;

  // Most severe want that was passed on: the worker was told, or is killed.
  internal::RequestedAction action() const {
    return raised_ == internal::KILL ? internal::KILL : delivered_;
  }
  // SIGTERM or SIGKILL was due.
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
