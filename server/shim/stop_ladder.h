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

class StopLadder {
 public:
  enum class Action { kNone, kTerminate, kKill };
  // From SIGTERM to SIGKILL.
  static constexpr MonotonicMs kTermToKillMs = 2000;

  // Takes a want with its grace (0 = no deadline). Returns whether it is to be passed on to the
  // worker: CHECKPOINT always, any other one if it is more severe than what is wanted already. A
  // deadline is only ever brought forward. KILL is due at once.
  bool Raise(internal::Want want, MonotonicMs grace, MonotonicMs now);
  // Sets the deadline alone.
  void BringForward(MonotonicMs deadline);
  // What is due now; each action is returned once.
  Action TakeDue(MonotonicMs now);
  // When TakeDue is to be asked next; nullopt = nothing is planned.
  std::optional<MonotonicMs> NextDue() const;

  // Most severe want that was passed on.
  internal::Want want() const { return want_; }
  // SIGTERM or SIGKILL was due.
  bool used_force() const { return terminated_ || killed_; }

 private:
  internal::Want want_ = internal::WANT_UNSPECIFIED;
  std::optional<MonotonicMs> deadline_;
  std::optional<MonotonicMs> kill_at_;
  bool terminated_ = false;
  bool killed_ = false;
};

}  // namespace trainerd::server
