// SPDX-License-Identifier: Apache-2.0
#include "server/reconcile/decide.h"

#include <algorithm>

#include "proto/contract/job/job_state.h"

namespace trainerd::server {
namespace {

using Job = v1::Job;

// An action in force is delivered again after this time, in case the shim lost it.
constexpr absl::Duration kSignalAgain = absl::Seconds(5);
// Time after the deadline that the daemon leaves to the shim's own escalation.
constexpr absl::Duration kEscalationSlack = absl::Seconds(10);
// An attempt that no shim takes is launched this many times, then it is closed and the job waits.
constexpr int kMaxLaunches = 3;

internal::RequestedAction RequestedActionFor(const DecideInput& input) {
  if (input.state == Job::PAUSING) return internal::PAUSE;
  if (input.state != Job::STOPPING) return internal::REQUESTED_ACTION_UNSPECIFIED;
  switch (input.desired_state) {
    case Job::DESIRED_DISCARD:
      return internal::DISCARD;
    case Job::DESIRED_FORCE:
      return input.now >= input.end_requested + kForceGrace ? internal::KILL : internal::DISCARD;
    default:
      return internal::STOP;
  }
}

void DecideSignal(const DecideInput& input, Decision* decision) {
  const internal::RequestedAction action = RequestedActionFor(input);
  if (action == internal::REQUESTED_ACTION_UNSPECIFIED) {
    // Once, because the worker writes one for each: a pause or stop writes its own.
    if (input.state == Job::RUNNING && input.checkpoint_request > input.checkpoint_delivered)
      decision->signal = internal::CHECKPOINT;
    return;
  }
  const bool delivered = input.signalled == action && input.now < input.signalled_at + kSignalAgain;
  if (delivered) return;
  decision->signal = action;
  if (input.end_deadline != absl::InfiniteFuture() && action != internal::KILL) {
    // 0 would disable the escalation; an expired deadline must end the attempt at once.
    decision->signal_grace = std::max(input.end_deadline - input.now, absl::Milliseconds(1));
  }
}

// The shim does not answer. Silence alone never ends an attempt. The worker of a dead shim exits by
// itself within the grace, and so does one with a requested action.
void DecideUnknown(const DecideInput& input, Decision* decision) {
  decision->control_lost = true;
  const bool orphan_overdue =
      !input.shim_alive && input.now >= input.unknown_since + input.stop_grace;
  const bool end_overdue = input.now >= input.end_deadline + kEscalationSlack;
  const bool forced = input.state == Job::STOPPING && input.desired_state == Job::DESIRED_FORCE &&
                      input.now >= input.end_requested + kForceGrace;
  decision->kill_by_identity = orphan_overdue || end_overdue || forced;
}

}  // namespace

Decision Decide(const DecideInput& input) {
  Decision decision;
  switch (input.observed) {
    case Observation::Kind::kPending:
      break;
    case Observation::Kind::kRunning:
      decision.stalled = input.stalled && input.state == Job::RUNNING;
      decision.stop_for_limit = input.run_time_exceeded && input.state == Job::RUNNING;
      decision.end_time_slice = input.attempt_time_exceeded && !decision.stop_for_limit &&
                                (input.state == Job::STARTING || input.state == Job::RUNNING);
      DecideSignal(input, &decision);
      break;
    case Observation::Kind::kUnknown:
      DecideUnknown(input, &decision);
      break;
    case Observation::Kind::kGone: {
      const bool may_start = input.state == Job::STARTING && !input.boot_changed;
      if (input.never_started && may_start && input.launches < kMaxLaunches) {
        decision.relaunch = true;
        break;
      }
      // Fences the attempt, so that a late shim starts no worker.
      if (input.never_started) decision.kill_by_identity = true;
      decision.begin_ending = true;
      break;
    }
    case Observation::Kind::kExited:
      decision.begin_ending = true;
      break;
  }
  return decision;
}

}  // namespace trainerd::server
