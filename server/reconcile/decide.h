// SPDX-License-Identifier: Apache-2.0
// The reconciler's next action for a job whose attempt is in the phase Running: a pure function of
// the stored job and the newest observation. The caller carries the decision out; after a crash,
// each part of it can be repeated.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "server/runs/executor.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server {

struct DecideInput {
  v1::Job::State state;
  v1::Job::DesiredState desired_state;
  Observation::Kind observed;
  // With kGone.
  bool never_started = false;
  // With kUnknown: the shim's process lives and does not answer.
  bool shim_alive = false;
  // The attempt was launched before the machine restarted.
  bool boot_changed = false;
  absl::Time now;
  // Deadline of a pause or stop, and when it was requested.
  absl::Time end_deadline = absl::InfiniteFuture();
  absl::Time end_requested = absl::InfiniteFuture();
  // Since when the attempt is observed as kUnknown.
  absl::Time unknown_since = absl::InfiniteFuture();
  absl::Duration stop_grace = absl::Seconds(300);
  bool run_time_exceeded = false;
  bool attempt_time_exceeded = false;
  bool stalled = false;
  // The newest action that this daemon has delivered.
  internal::RequestedAction signalled = internal::REQUESTED_ACTION_UNSPECIFIED;
  absl::Time signalled_at = absl::InfinitePast();
  // Number of the pending RequestCheckpoint calls (0: none), and of the newest ones that this
  // daemon has delivered.
  int64_t checkpoint_request = 0;
  int64_t checkpoint_delivered = 0;
  // By this daemon.
  int launches = 0;
};

struct Decision {
  // Launch again: no shim has taken the attempt.
  bool relaunch = false;
  // Deliver this action.
  std::optional<internal::RequestedAction> signal;
  // Grace of `signal`; 0: the shim does not escalate.
  absl::Duration signal_grace;
  bool kill_by_identity = false;
  // Record a graceful stop because of limits.max_run_time.
  bool stop_for_limit = false;
  // End the attempt because of limits.max_attempt_time; the job returns to the queue.
  bool end_time_slice = false;
  // The worker has exited, so its spool is complete.
  bool begin_ending = false;
  // Conditions of the job.
  bool control_lost = false;
  bool stalled = false;
};

Decision Decide(const DecideInput& input);

}  // namespace trainerd::server
