// SPDX-License-Identifier: Apache-2.0
// The reconciler's decisions, one situation per test.
#include "server/reconcile/decide.h"

#include "gtest/gtest.h"
#include "proto/contract/job/job_state.h"

namespace trainerd::server {
namespace {

using Job = v1::Job;
using Kind = Observation::Kind;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

DecideInput Running(Job::State state = Job::RUNNING, Job::DesiredState desired = Job::DESIRED_RUN) {
  return {.state = state, .desired_state = desired, .observed = Kind::kRunning, .now = kNow};
}

TEST(DecideTest, DoesNothingForARunningJob) {
  const Decision d = Decide(Running());
  EXPECT_FALSE(d.signal.has_value());
  EXPECT_FALSE(d.relaunch || d.kill_by_identity || d.begin_ending || d.control_lost);
}

TEST(DecideTest, DeliversTheRequestedActionWithTheRemainingGrace) {
  DecideInput input = Running(Job::PAUSING, Job::DESIRED_PAUSE);
  input.end_deadline = kNow + absl::Seconds(40);
  const Decision pause = Decide(input);
  EXPECT_EQ(*pause.signal, internal::PAUSE);
  EXPECT_EQ(pause.signal_grace, absl::Seconds(40));
  input.desired_state = Job::DESIRED_RUN;
  EXPECT_EQ(*Decide(input).signal, internal::PAUSE) << "Resume while PAUSING lets the pause finish";
  input.state = Job::STOPPING;
  input.desired_state = Job::DESIRED_STOP;
  EXPECT_EQ(*Decide(input).signal, internal::STOP);
  input.desired_state = Job::DESIRED_DISCARD;
  EXPECT_EQ(*Decide(input).signal, internal::DISCARD);
}

TEST(DecideTest, RepeatsAnActionAfterFiveSecondsAndDeliversAMoreSevereOneAtOnce) {
  DecideInput input = Running(Job::STOPPING, Job::DESIRED_STOP);
  input.signalled = internal::STOP;
  input.signalled_at = kNow - absl::Seconds(1);
  EXPECT_FALSE(Decide(input).signal.has_value());
  input.signalled_at = kNow - absl::Seconds(6);
  EXPECT_TRUE(Decide(input).signal.has_value());
  input.signalled_at = kNow;
  input.desired_state = Job::DESIRED_DISCARD;
  EXPECT_EQ(*Decide(input).signal, internal::DISCARD);
}

TEST(DecideTest, KillsTwoSecondsAfterAForcedStop) {
  DecideInput input = Running(Job::STOPPING, Job::DESIRED_FORCE);
  input.end_requested = kNow - absl::Seconds(1);
  EXPECT_EQ(*Decide(input).signal, internal::DISCARD);
  input.end_requested = kNow - kForceGrace;
  input.signalled = internal::DISCARD;
  input.signalled_at = kNow;
  EXPECT_EQ(*Decide(input).signal, internal::KILL);
}

TEST(DecideTest, DeliversAPositiveGraceAfterTheDeadline) {
  DecideInput input = Running(Job::PAUSING, Job::DESIRED_PAUSE);
  input.end_deadline = kNow - absl::Seconds(40);
  EXPECT_GT(Decide(input).signal_grace, absl::ZeroDuration());
  EXPECT_LT(Decide(input).signal_grace, absl::Seconds(1));
}

TEST(DecideTest, StopsOnlyARunningJobAtTheRunTimeLimit) {
  DecideInput input = Running();
  input.run_time_exceeded = true;
  EXPECT_TRUE(Decide(input).stop_for_limit);
  input.state = Job::PAUSING;
  EXPECT_FALSE(Decide(input).stop_for_limit);
}

TEST(DecideTest, ReportsStalledOnlyWhileTraining) {
  DecideInput input = Running();
  input.stalled = true;
  EXPECT_TRUE(Decide(input).stalled);
  input.state = Job::STARTING;
  EXPECT_FALSE(Decide(input).stalled);
}

// T7
TEST(DecideTest, OnlyReportsControlLostForASilentShim) {
  DecideInput input = Running();
  input.observed = Kind::kUnknown;
  input.shim_alive = true;
  input.unknown_since = kNow - absl::Hours(1);
  const Decision d = Decide(input);
  EXPECT_TRUE(d.control_lost);
  EXPECT_FALSE(d.kill_by_identity || d.begin_ending);
}

TEST(DecideTest, KillsTheWorkerOfADeadShimAfterTheGrace) {
  DecideInput input = Running();
  input.observed = Kind::kUnknown;
  input.unknown_since = kNow - input.stop_grace + absl::Seconds(1);
  EXPECT_FALSE(Decide(input).kill_by_identity);
  input.unknown_since = kNow - input.stop_grace;
  EXPECT_TRUE(Decide(input).kill_by_identity);
}

TEST(DecideTest, KillsASilentAttemptAfterTheDeadlineOfItsStop) {
  DecideInput input = Running(Job::STOPPING, Job::DESIRED_STOP);
  input.observed = Kind::kUnknown;
  input.shim_alive = true;
  input.end_deadline = kNow - absl::Seconds(1);
  EXPECT_FALSE(Decide(input).kill_by_identity) << "the shim's own escalation may still run";
  input.end_deadline = kNow - absl::Seconds(10);
  EXPECT_TRUE(Decide(input).kill_by_identity);
  input.end_deadline = absl::InfiniteFuture();
  input.desired_state = Job::DESIRED_FORCE;
  input.end_requested = kNow - kForceGrace;
  EXPECT_TRUE(Decide(input).kill_by_identity);
}

TEST(DecideTest, BeginsEndingOnceTheEndIsObserved) {
  for (Kind kind : {Kind::kExited, Kind::kGone}) {
    DecideInput input = Running();
    input.observed = kind;
    EXPECT_TRUE(Decide(input).begin_ending);
  }
}

TEST(DecideTest, LaunchesAnAttemptAgainThatNoShimTook) {
  DecideInput input = Running(Job::STARTING);
  input.observed = Kind::kGone;
  input.never_started = true;
  EXPECT_TRUE(Decide(input).relaunch);
  EXPECT_FALSE(Decide(input).begin_ending);
  input.launches = 3;
  EXPECT_FALSE(Decide(input).relaunch);
  EXPECT_TRUE(Decide(input).kill_by_identity) << "fenced, so that a late shim exits";
  EXPECT_TRUE(Decide(input).begin_ending);
}

TEST(DecideTest, DoesNotLaunchAgainAfterAStopOrAReboot) {
  DecideInput input = Running(Job::STOPPING, Job::DESIRED_STOP);
  input.observed = Kind::kGone;
  input.never_started = true;
  EXPECT_FALSE(Decide(input).relaunch);
  input.state = Job::STARTING;
  input.boot_changed = true;
  EXPECT_FALSE(Decide(input).relaunch);
}

TEST(DecideTest, WaitsForAPendingShim) {
  DecideInput input = Running(Job::STARTING);
  input.observed = Kind::kPending;
  const Decision d = Decide(input);
  EXPECT_FALSE(d.relaunch || d.begin_ending || d.kill_by_identity || d.signal.has_value());
}

TEST(DecideTest, EndsATimeSliceWhileTheJobStartsOrRuns) {
  for (const Job::State state : {Job::STARTING, Job::RUNNING}) {
    DecideInput input = Running(state);
    EXPECT_FALSE(Decide(input).end_time_slice);
    input.attempt_time_exceeded = true;
    EXPECT_TRUE(Decide(input).end_time_slice) << StateName(state);
    input.observed = Kind::kUnknown;
    EXPECT_FALSE(Decide(input).end_time_slice) << "no request reaches it";
  }
  DecideInput pausing = Running(Job::PAUSING, Job::DESIRED_PAUSE);
  pausing.attempt_time_exceeded = true;
  EXPECT_FALSE(Decide(pausing).end_time_slice);
  DecideInput both = Running();
  both.attempt_time_exceeded = both.run_time_exceeded = true;
  EXPECT_TRUE(Decide(both).stop_for_limit);
  EXPECT_FALSE(Decide(both).end_time_slice) << "the job ends";
}

TEST(DecideTest, DeliversEachRequestForACheckpointOnceWhileTheJobTrains) {
  DecideInput input = Running();
  input.checkpoint_request = 3;
  input.checkpoint_delivered = 2;
  EXPECT_EQ(*Decide(input).signal, internal::CHECKPOINT);
  EXPECT_EQ(Decide(input).signal_grace, absl::ZeroDuration()) << "it ends nothing";
  input.state = Job::STARTING;
  EXPECT_FALSE(Decide(input).signal.has_value());
  input.state = Job::PAUSING;
  EXPECT_EQ(*Decide(input).signal, internal::PAUSE) << "its checkpoint fulfills the request";
  input.state = Job::RUNNING;
  input.checkpoint_delivered = 3;
  EXPECT_FALSE(Decide(input).signal.has_value());
  input.checkpoint_request = 0;
  EXPECT_FALSE(Decide(input).signal.has_value());
}

}  // namespace
}  // namespace trainerd::server
