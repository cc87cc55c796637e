// SPDX-License-Identifier: Apache-2.0
#include "server/reconcile/decide.h"

#include <algorithm>

#include "proto/contract/job/force_grace.h"

namespace trainerd::server {
namespace {

using Job = v1::Job;

// A want is passed on again after this time: it may have been lost with a shim's connection.
constexpr absl::Duration kSignalAgain = absl::Seconds(5);
// The shim's own ladder gets this much longer than the deadline before the daemon stops waiting for
// it.
constexpr absl::Duration kLadderSlack = absl::Seconds(10);
// A launch that no shim took is repeated this often, then the attempt is closed and the job waits.
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
  if (action == internal::REQUESTED_ACTION_UNSPECIFIED) return;
  const bool passed_on = input.signalled == action && input.now < input.signalled_at + kSignalAgain;
  if (passed_on) return;
  decision->signal = action;
  if (input.end_deadline != absl::InfiniteFuture() && action != internal::KILL) {
    // 0 would switch the ladder off: an expired deadline is one that ends at once.
    decision->signal_grace = std::max(input.end_deadline - input.now, absl::Milliseconds(1));
  }
}

// The shim does not answer. Silence alone ends nothing; a dead shim leaves a worker that ends
// itself, and what was asked for has its grace.
void DecideUnknown(const DecideInput& input, Decision* decision) {
  decision->control_lost = true;
  const bool orphan_overdue =
      !input.shim_alive && input.now >= input.unknown_since + input.stop_grace;
  const bool end_overdue = input.now >= input.end_deadline + kLadderSlack;
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
      DecideSignal(input, &decision);
      break;
    case Observation::Kind::kUnknown:
      DecideUnknown(input, &decision);
      break;
    case Observation::Kind::kGone: {
      const bool wanted = input.state == Job::STARTING && !input.boot_changed;
      if (input.never_started && wanted && input.launches < kMaxLaunches) {
        decision.relaunch = true;
        break;
      }
      if (input.never_started) decision.kill_by_identity = true;  // fences it
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
