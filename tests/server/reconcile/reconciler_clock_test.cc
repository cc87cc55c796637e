// SPDX-License-Identifier: Apache-2.0
// The system's clock jumps by a day in either direction: no deadline and no delay notices it, also
// over a restart of the daemon. The steady clock of the fixture does not jump.
#include "tests/server/reconcile/reconciler_fixture.h"

namespace trainerd::server {
namespace {

class ReconcilerClockTest : public ReconcilerTest,
                            public ::testing::WithParamInterface<std::tuple<int, bool>> {
 protected:
  // The jump, and, as the case may be, a restart of the daemon.
  void Jump() {
    system_clock_shift_ = absl::Hours(std::get<0>(GetParam()));
    if (!std::get<1>(GetParam())) return;
    Crash();
    Start();
  }
};

TEST_P(ReconcilerClockTest, PausingAttemptKeepsItsGrace) {
  const std::string name = StartRunning("a", "limits: {stop_grace: 60s}");
  Command(jobs_->Pause(Pause("a"), "t"));
  Rounds(3);
  ASSERT_EQ(Get("a").state(), Job::PAUSING);
  Jump();
  executor_.Newest(name).kind = Kind::kUnknown;
  Rounds(5);
  EXPECT_EQ(Get("a").state(), Job::PAUSING);
  EXPECT_TRUE(executor_.kills.empty()) << "the grace has just begun";
  clock_.Advance(absl::Seconds(80));
  Rounds(3);
  EXPECT_FALSE(executor_.kills.empty()) << "the grace has expired";
}

TEST_P(ReconcilerClockTest, RetryKeepsItsDelay) {
  executor_.WorkerCrashes(StartRunning("a"));
  ASSERT_TRUE(Until("a", Job::QUEUED));
  ASSERT_EQ(Get("a").wait_reason(), Job::BACKOFF);
  Jump();
  Rounds(5);
  EXPECT_EQ(Get("a").wait_reason(), Job::BACKOFF) << "5 s ± 20 % are not over";
  clock_.Advance(absl::Seconds(7));
  EXPECT_TRUE(Until("a", Job::STARTING));
}

TEST_P(ReconcilerClockTest, RunTimeCountsWhatHasElapsed) {
  StartRunning("a", "limits: {max_run_time: 1h}");
  Jump();
  Rounds(5);
  EXPECT_EQ(Get("a").state(), Job::RUNNING);
  clock_.Advance(absl::Minutes(61));
  EXPECT_TRUE(Until("a", Job::STOPPING));
}

TEST_P(ReconcilerClockTest, RunningJobIsNotStalled) {
  StartRunning("a");
  Spool("a", {Step(1)});
  Rounds(2);
  Jump();
  Rounds(5);
  EXPECT_FALSE(Active("a", "Stalled"));
  clock_.Advance(absl::Minutes(6));
  Rounds(5);
  EXPECT_TRUE(Active("a", "Stalled"));
}

TEST_P(ReconcilerClockTest, DeliversTheSameGraceAgain) {
  StartRunning("a", "limits: {stop_grace: 60s}");
  Command(jobs_->Pause(Pause("a"), "t"));
  Rounds(3);
  Jump();
  Rounds(3);
  clock_.Advance(absl::Seconds(10));
  Rounds(3);
  ASSERT_GE(executor_.signals.size(), 2u);
  EXPECT_GT(executor_.signals.back().grace, absl::Seconds(40));
  EXPECT_LE(executor_.signals.back().grace, absl::Seconds(50));
}

// The machine restarts, and its clock is a day behind: the stored times are in the future.
class ReconcilerBootTest : public ReconcilerTest {
 protected:
  void Restart() {
    Crash();
    clock_.Advance(-absl::Hours(24));
    Start();
  }
};

TEST_F(ReconcilerBootTest, RetryWaitsNoLongerThanTheLongestDelay) {
  executor_.WorkerCrashes(StartRunning("a"));
  ASSERT_TRUE(Until("a", Job::QUEUED));
  Restart();
  Rounds(3);
  EXPECT_EQ(Get("a").wait_reason(), Job::BACKOFF);
  clock_.Advance(absl::Minutes(6));
  EXPECT_TRUE(Until("a", Job::STARTING));
}

TEST_F(ReconcilerBootTest, PausingAttemptHasAtMostItsGrace) {
  const std::string name = StartRunning("a", "limits: {stop_grace: 60s}");
  Command(jobs_->Pause(Pause("a"), "t"));
  Rounds(3);
  executor_.Newest(name).kind = Kind::kUnknown;
  Restart();
  clock_.Advance(absl::Seconds(80));
  Rounds(3);
  EXPECT_FALSE(executor_.kills.empty());
}

TEST_F(ReconcilerBootTest, RunTimeIsNotNegative) {
  StartRunning("a", "limits: {max_run_time: 1h}");
  Restart();
  clock_.Advance(absl::Minutes(61));
  EXPECT_TRUE(Until("a", Job::STOPPING));
}

INSTANTIATE_TEST_SUITE_P(Jumps, ReconcilerClockTest,
                         ::testing::Combine(::testing::Values(24, -24), ::testing::Bool()),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param) > 0 ? "Forward" : "Back") +
                                  (std::get<1>(info.param) ? "AndRestart" : "");
                         });

}  // namespace
}  // namespace trainerd::server
