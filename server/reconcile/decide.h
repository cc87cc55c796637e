// SPDX-License-Identifier: Apache-2.0
// The reconciler's next move for one job with an open attempt: a pure function of what is stored
// and what was observed. The caller carries the answer out; each part of it may be repeated after a
// crash.
#pragma once

#include <optional>

#include "absl/time/time.h"
#include "server/runs/executor.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server {

struct DecideInput {
  v1::Job::State state;
  v1::Job::DesiredState desired_state;
  Observation::Kind observed;
  bool never_started = false;  // with kGone
  bool shim_alive = false;     // with kUnknown: the shim's process lives, it only does not answer
  bool boot_changed = false;   // the attempt was launched before the machine restarted
  absl::Time now;
  absl::Time end_deadline = absl::InfiniteFuture();   // of a pause or stop
  absl::Time end_requested = absl::InfiniteFuture();  // when it was recorded
  absl::Time unknown_since = absl::InfiniteFuture();  // since when kUnknown is observed
  absl::Duration stop_grace = absl::Seconds(300);
  bool run_time_exceeded = false;
  bool stalled = false;
  // What this daemon has already done for the attempt.
  internal::RequestedAction signalled = internal::REQUESTED_ACTION_UNSPECIFIED;
  absl::Time signalled_at = absl::InfinitePast();
  int launches = 0;  // by this daemon
};

struct Decision {
  bool relaunch = false;  // Launch again: no shim ever took the attempt
  std::optional<internal::RequestedAction> signal;
  absl::Duration signal_grace;  // 0 = the shim's ladder does not run
  bool kill_by_identity = false;
  bool stop_for_limit = false;  // record a graceful stop because of limits.max_run_time
  bool begin_ending = false;    // the worker is gone: the spool is complete
  bool control_lost = false;    // condition to show
  bool stalled = false;         // condition to show
};

Decision Decide(const DecideInput& input);

}  // namespace trainerd::server
