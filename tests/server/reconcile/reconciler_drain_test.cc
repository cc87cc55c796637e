// SPDX-License-Identifier: Apache-2.0
// Admin.Drain through the reconciler: queued and running jobs, deadlines, crashes in between.
#include "absl/strings/str_cat.h"
#include "server/commands/drain.h"
#include "tests/server/reconcile/reconciler_fixture.h"

namespace trainerd::server {
namespace {

class ReconcilerDrainTest : public ReconcilerTest {
 protected:
  void Drain(const std::string& request = "") {
    DrainCommands commands(*store_, drain_, [] {});
    ASSERT_OK(commands.Begin(FromText<v1::DrainRequest>(request), "t"));
  }
  void Undrain() {
    DrainCommands commands(*store_, drain_, [] {});
    ASSERT_OK(commands.End({}, "t"));
  }
  void Restart() {
    Crash();
    drain_.Set(std::nullopt);
    Start();
  }
  int Failures(const std::string& id) {
    return Load(*store_, id).ledger.failures_without_progress();
  }
};

TEST_F(ReconcilerDrainTest, QueuedJobsWaitAndStartAfterwards) {
  StartRunning("runs");
  Submit("before");
  Drain();
  Submit("after");
  Submit("held", "suspended: true");
  Rounds(3);
  EXPECT_EQ(Get("before").wait_reason(), Job::DRAIN);
  EXPECT_EQ(Get("after").wait_reason(), Job::DRAIN) << "submits keep working";
  EXPECT_EQ(Get("held").wait_reason(), Job::HELD);
  EXPECT_EQ(Get("runs").state(), Job::RUNNING) << "without pause_running";
  Command(jobs_->Stop(Stop("runs", "DISCARD"), "t"));
  executor_.WorkerEnds("jobs/runs", v1::Attempt::DISCARDED);
  ASSERT_TRUE(Until("runs", Job::CANCELLED));
  Rounds(5);
  EXPECT_EQ(executor_.launches.size(), 1u) << "a device is free, and nothing starts";
  Undrain();
  ASSERT_TRUE(Until("before", Job::STARTING));
  Rounds(2);
  EXPECT_EQ(Get("after").wait_reason(), Job::RESOURCES);
}

TEST_F(ReconcilerDrainTest, EveryJobOfALongQueueShowsIt) {
  StartRunning("runs");
  for (int i = 0; i < 150; ++i) Submit(absl::StrCat("j", i));
  Drain();
  Rounds(4);
  const auto count = [&](Job::WaitReason reason) {
    int found = 0;
    for (int i = 0; i < 150; ++i) found += Get(absl::StrCat("j", i)).wait_reason() == reason;
    return found;
  };
  EXPECT_EQ(count(Job::DRAIN), 150);
  Undrain();
  Rounds(2);
  EXPECT_EQ(count(Job::DRAIN), 0);
  EXPECT_EQ(count(Job::RESOURCES), 150);
}

TEST_F(ReconcilerDrainTest, RunningJobsReturnToTheQueueWithACheckpoint) {
  StartRunning("a");
  Drain("pause_running: true");
  ASSERT_TRUE(Until("a", Job::PAUSING, /*rounds=*/3));
  EXPECT_EQ(Get("a").desired_state(), Job::DESIRED_RUN);
  EXPECT_EQ(Load(*store_, "a").ledger.requeue_reason(), internal::REQUEUE_DRAIN);
  Rounds(2);
  EXPECT_EQ(executor_.signals.back().action, internal::PAUSE);
  EXPECT_NEAR(absl::ToDoubleSeconds(executor_.signals.back().grace), 300, 5) << "stop_grace";
  Checkpoint("a", 4);
  executor_.WorkerEnds("jobs/a", v1::Attempt::PAUSED_OK, 4);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  Rounds(3);
  EXPECT_EQ(Get("a").wait_reason(), Job::DRAIN);
  EXPECT_FALSE(Get("a").has_error());
  EXPECT_EQ(Failures("a"), 0);
  for (const v1::Event& e : recorder_.Events())
    EXPECT_NE(e.state_changed().to_state(), Job::PAUSED);
  Undrain();
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_NE(executor_.launches.back().resume_name(), "");
}

TEST_F(ReconcilerDrainTest, TheDeadlineEscalatesWithoutUsingTheFailureBudget) {
  for (const int seconds : {0, 20}) {
    const std::string id = absl::StrCat("a", seconds);
    StartRunning(id);
    Drain(absl::StrCat("pause_running: true deadline {seconds: ", seconds, "}"));
    ASSERT_TRUE(Until(id, Job::PAUSING, /*rounds=*/3));
    Rounds(1);
    EXPECT_EQ(executor_.signals.back().action, internal::PAUSE);
    EXPECT_GT(executor_.signals.back().grace, absl::ZeroDuration()) << "0 would disable it";
    EXPECT_LE(executor_.signals.back().grace, absl::Seconds(std::max(seconds, 1)));
    Observation& ended = executor_.Newest("jobs/" + id);
    ended.kind = Kind::kExited;
    ended.exit.emplace().set_killed_by_escalation(true);
    ASSERT_TRUE(Until(id, Job::QUEUED));
    EXPECT_EQ(Failures(id), 0);
    Command(jobs_->Stop(Stop(id, "DISCARD"), "t"));
    Undrain();
  }
}

TEST_F(ReconcilerDrainTest, ASilentShimIsKilledAfterTheDeadline) {
  StartRunning("a");
  executor_.Newest("jobs/a").kind = Kind::kUnknown;
  Drain("pause_running: true deadline {seconds: 5}");
  ASSERT_TRUE(Until("a", Job::PAUSING, /*rounds=*/3));
  EXPECT_TRUE(executor_.kills.empty());
  clock_.Advance(absl::Seconds(30));
  Rounds(10);
  EXPECT_FALSE(executor_.kills.empty());
}

TEST_F(ReconcilerDrainTest, AUsersPauseIsShortenedAndStaysAPause) {
  StartRunning("a");
  Command(jobs_->Pause(FromText<v1::PauseRequest>("name: 'jobs/a' grace {seconds: 36000}"), "t"));
  Rounds(2);
  Drain("pause_running: true deadline {seconds: 10}");
  clock_.Advance(absl::Seconds(6));  // the action is delivered again
  Rounds(3);
  EXPECT_LE(executor_.signals.back().grace, absl::Seconds(10));
  Checkpoint("a", 4);
  executor_.WorkerEnds("jobs/a", v1::Attempt::PAUSED_OK, 4);
  EXPECT_TRUE(Until("a", Job::PAUSED));
}

TEST_F(ReconcilerDrainTest, JobsResumeByThemselvesAfterACrashAtEachStep) {
  StartRunning("a");
  Submit("b");
  Drain("pause_running: true deadline {seconds: 7200}");
  ASSERT_TRUE(Until("a", Job::PAUSING));
  Rounds(2);
  Restart();
  Rounds(2);
  EXPECT_EQ(executor_.signals.back().action, internal::PAUSE);
  EXPECT_GT(executor_.signals.back().grace, absl::Hours(1)) << "the deadline of the drain";
  EXPECT_EQ(Get("b").wait_reason(), Job::RESOURCES) << "the next daemon does not drain";
  Checkpoint("a", 4);
  executor_.WorkerEnds("jobs/a", v1::Attempt::PAUSED_OK, 4);
  Restart();
  ASSERT_TRUE(Until("a", Job::STARTING)) << "it was submitted first";
  EXPECT_EQ(Failures("a"), 0);
  // The whole drain, and a crash after it.
  Drain("pause_running: true");
  ASSERT_TRUE(Until("a", Job::PAUSING));
  Checkpoint("a", 5, Get("a").latest_checkpoint());
  executor_.WorkerEnds("jobs/a", v1::Attempt::PAUSED_OK, 5);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  Rounds(2);
  EXPECT_EQ(Get("a").wait_reason(), Job::DRAIN);
  Restart();
  EXPECT_TRUE(Until("a", Job::STARTING));
}

TEST_F(ReconcilerDrainTest, NoAttemptBeginsBetweenTheDecisionAndTheDrain) {
  StartRunning("runs");
  Submit("next");
  Command(jobs_->Stop(Stop("runs", "DISCARD"), "t"));
  executor_.WorkerEnds("jobs/runs", v1::Attempt::DISCARDED);
  // The round that gives the device to `next` has begun when the drain comes.
  on_queue_step_ = [this] {
    if (DeviceHolder().empty()) Drain();
  };
  // The end of the attempt is observed by another thread.
  for (int i = 0; i < 100 && Get("next").wait_reason() != Job::DRAIN; ++i) Rounds(3);
  EXPECT_EQ(Get("next").attempt(), 0);
  EXPECT_EQ(Get("next").wait_reason(), Job::DRAIN);
}

}  // namespace
}  // namespace trainerd::server
