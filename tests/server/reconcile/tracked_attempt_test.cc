// SPDX-License-Identifier: Apache-2.0
// Every transition of tracked_attempt.h, with invented observations and times.
#include "server/reconcile/tracked_attempt.h"

#include "gtest/gtest.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using Kind = Observation::Kind;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

TrackedAttempt Make() {
  return TrackedAttempt({.job = "jobs/a", .attempt = 1, .run_dir = "/runs/a"}, nullptr,
                        /*launches=*/1);
}

Observation Seen(Kind kind) { return {.kind = kind}; }

TrackedAttempt MakeScanning() {
  TrackedAttempt attempt = Make();
  attempt.In<Running>()->Record(Seen(Kind::kExited), kNow);
  attempt.BeginEnding();
  attempt.BeginDraining();
  attempt.BeginScanning();
  return attempt;
}

RunScan FailedScan() { return {.status = absl::UnavailableError("I/O error")}; }

TEST(TrackedAttemptTest, EndsDrainsScansAndClosesWithTheObservedEnd) {
  TrackedAttempt attempt = Make();
  ASSERT_NE(attempt.In<Running>(), nullptr);
  Observation end = Seen(Kind::kExited);
  end.exit.emplace().set_exit_code(7);
  attempt.In<Running>()->Record(end, kNow);
  attempt.BeginEnding();
  ASSERT_NE(attempt.In<Ending>(), nullptr);
  EXPECT_EQ(attempt.In<Running>(), nullptr);
  attempt.BeginDraining();
  ASSERT_NE(attempt.In<Draining>(), nullptr);
  attempt.BeginScanning();
  ASSERT_NE(attempt.In<Scanning>(), nullptr);
  RunScan scan;
  scan.final_status = absl::DataLossError("differs");
  attempt.TakeScan(scan, /*discarded=*/false, kNow);
  const Closing* closing = attempt.In<Closing>();
  ASSERT_NE(closing, nullptr);
  EXPECT_EQ(closing->end.exit->exit_code(), 7);
  EXPECT_EQ(closing->scan.final_status, scan.final_status);
  EXPECT_FALSE(closing->had_read_errors);
  EXPECT_LE(closing->next_try, kNow);
}

TEST(TrackedAttemptTest, ForgetsTheObservationWhenLaunchedAgain) {
  TrackedAttempt attempt = Make();
  Running* running = attempt.In<Running>();
  running->Record(Seen(Kind::kGone), kNow);
  running->observation_requested_at = kNow;
  attempt.RecordLaunch(nullptr);
  running = attempt.In<Running>();
  ASSERT_NE(running, nullptr);
  EXPECT_FALSE(running->observation.has_value());
  EXPECT_EQ(running->observation_requested_at, absl::InfinitePast()) << "due at once";
  EXPECT_EQ(running->launches, 2);
}

TEST(TrackedAttemptTest, ReportsSilenceOnceUntilTheShimAnswers) {
  TrackedAttempt attempt = Make();
  Running& running = *attempt.In<Running>();
  EXPECT_FALSE(running.Record(Seen(Kind::kRunning), kNow));
  EXPECT_TRUE(running.Record(Seen(Kind::kUnknown), kNow));
  EXPECT_FALSE(running.Record(Seen(Kind::kUnknown), kNow + absl::Seconds(5)));
  EXPECT_EQ(running.unknown_since, kNow) << "since the first silent observation";
  EXPECT_FALSE(running.Record(Seen(Kind::kRunning), kNow + absl::Seconds(6)));
  EXPECT_EQ(running.unknown_since, absl::InfiniteFuture());
  EXPECT_TRUE(running.Record(Seen(Kind::kUnknown), kNow + absl::Seconds(7)));
}

TEST(TrackedAttemptTest, KeepsOnlyDeliveredActionsAndReportsEachErrorOnce) {
  TrackedAttempt attempt = Make();
  Running& running = *attempt.In<Running>();
  const AttemptProbe::Delivery failed{internal::PAUSE, absl::UnavailableError("no answer")};
  EXPECT_TRUE(running.Record(failed, kNow));
  EXPECT_FALSE(running.Record(failed, kNow));
  EXPECT_EQ(running.delivered, internal::REQUESTED_ACTION_UNSPECIFIED);
  EXPECT_FALSE(running.Record({internal::PAUSE, absl::OkStatus()}, kNow));
  EXPECT_EQ(running.delivered, internal::PAUSE);
  EXPECT_EQ(running.delivered_at, kNow);
  EXPECT_TRUE(running.Record(failed, kNow)) << "an error after a success is a new one";
  EXPECT_EQ(running.delivered, internal::PAUSE);
}

TEST(TrackedAttemptTest, ObservesASettledAttemptEverySecondElseTenTimesPerSecond) {
  TrackedAttempt attempt = Make();
  EXPECT_EQ(attempt.StepEvery(), absl::Milliseconds(100)) << "before the first observation";
  Running& running = *attempt.In<Running>();
  running.Record(Seen(Kind::kRunning), kNow);
  EXPECT_EQ(attempt.StepEvery(), absl::Seconds(1));
  running.Record({internal::STOP, absl::OkStatus()}, kNow);
  EXPECT_EQ(attempt.StepEvery(), absl::Milliseconds(100));
}

TEST(TrackedAttemptTest, RepeatsAFailedScanAfterADelayThatDoublesUpToAMinute) {
  TrackedAttempt attempt = MakeScanning();
  for (int seconds : {2, 4, 8, 16, 32, 60, 60}) {
    attempt.In<Scanning>()->slot = std::make_shared<Scanning::Slot>();
    attempt.TakeScan(FailedScan(), /*discarded=*/false, kNow);
    const Scanning* scanning = attempt.In<Scanning>();
    ASSERT_NE(scanning, nullptr);
    EXPECT_EQ(scanning->slot, nullptr) << "no scan is in progress";
    EXPECT_EQ(scanning->next_scan, kNow + absl::Seconds(seconds));
  }
  attempt.TakeScan(RunScan{}, /*discarded=*/false, kNow);
  ASSERT_NE(attempt.In<Closing>(), nullptr);
  EXPECT_TRUE(attempt.In<Closing>()->had_read_errors);
}

TEST(TrackedAttemptTest, ClosesADiscardedJobAfterAFailedScanAsIfItFoundNothing) {
  TrackedAttempt attempt = MakeScanning();
  RunScan failed = FailedScan();
  failed.found.emplace_back();
  attempt.TakeScan(failed, /*discarded=*/true, kNow);
  ASSERT_NE(attempt.In<Closing>(), nullptr);
  EXPECT_OK(attempt.In<Closing>()->scan.status);
  EXPECT_TRUE(attempt.In<Closing>()->scan.found.empty());
}

TEST(TrackedAttemptTest, RepeatsAFailedCloseAfterTwoSeconds) {
  TrackedAttempt attempt = MakeScanning();
  attempt.TakeScan(RunScan{}, /*discarded=*/false, kNow);
  attempt.RecordCloseFailure(kNow);
  ASSERT_NE(attempt.In<Closing>(), nullptr);
  EXPECT_EQ(attempt.In<Closing>()->next_try, kNow + absl::Seconds(2));
}

TEST(TrackedAttemptTest, MayEndSoonUnlessItRunsOrAnErrorDelaysItsEnd) {
  TrackedAttempt attempt = Make();
  EXPECT_TRUE(attempt.MayEndSoon()) << "not observed yet";
  attempt.In<Running>()->Record(Seen(Kind::kRunning), kNow);
  EXPECT_FALSE(attempt.MayEndSoon());
  attempt.In<Running>()->Record(Seen(Kind::kExited), kNow);
  attempt.BeginEnding();
  EXPECT_TRUE(attempt.MayEndSoon());
  attempt.BeginDraining();
  EXPECT_TRUE(attempt.MayEndSoon());
  attempt.BeginScanning();
  EXPECT_TRUE(attempt.MayEndSoon());
  attempt.TakeScan(FailedScan(), /*discarded=*/false, kNow);
  EXPECT_FALSE(attempt.MayEndSoon());

  attempt = MakeScanning();
  attempt.TakeScan(RunScan{}, /*discarded=*/false, kNow);
  EXPECT_TRUE(attempt.MayEndSoon());
  attempt.RecordCloseFailure(kNow);
  EXPECT_FALSE(attempt.MayEndSoon());
}

TEST(TrackedAttemptDeathTest, RefusesToSkipAPhase) {
  TrackedAttempt attempt = Make();
  EXPECT_DEATH(attempt.BeginEnding(), "check failed") << "nothing was observed";
  EXPECT_DEATH(attempt.BeginDraining(), "check failed");
  EXPECT_DEATH(attempt.BeginScanning(), "check failed");
  EXPECT_DEATH(attempt.TakeScan(RunScan{}, /*discarded=*/false, kNow), "check failed");
}

TEST(TrackedAttemptTest, RecordsWhichRequestForACheckpointWasDelivered) {
  TrackedAttempt attempt = Make();
  Running& running = *attempt.In<Running>();
  running.checkpoint_in_delivery = 1;
  running.Record({.action = internal::CHECKPOINT, .status = absl::UnavailableError("no")}, kNow);
  EXPECT_EQ(running.checkpoint_in_delivery, 0) << "it is requested again";
  EXPECT_EQ(running.checkpoint_delivered, 0);
  running.checkpoint_in_delivery = 1;
  running.Record({.action = internal::CHECKPOINT, .status = absl::OkStatus()}, kNow);
  EXPECT_EQ(running.checkpoint_delivered, 1);
  EXPECT_EQ(running.delivered, internal::REQUESTED_ACTION_UNSPECIFIED) << "the attempt continues";
}

}  // namespace
}  // namespace trainerd::server
