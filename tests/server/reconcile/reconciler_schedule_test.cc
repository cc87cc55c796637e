// SPDX-License-Identifier: Apache-2.0
// Quotas, preemption and time slices through the reconciler, with crashes of the daemon in between.
#include "absl/strings/str_cat.h"
#include "tests/server/reconcile/reconciler_fixture.h"

namespace trainerd::server {
namespace {

class ReconcilerScheduleTest : public ReconcilerTest {
 protected:
  void Restart() {
    Crash();
    Start();
  }
  void Use(const QueueRules& rules) {
    rules_ = rules;
    Restart();
  }
  void UseDevices(int gpus) {
    std::vector<v1::Device> devices(1);
    devices[0].set_name("cpu");
    for (int i = 0; i < gpus; ++i) devices.emplace_back().set_name(absl::StrCat("cuda:", i));
    devices_->Set(devices);
  }
  // The worker of `id` has trained `step` steps since its last checkpoint at `saved`, and pauses.
  void EndsPaused(const std::string& id, int64_t step) {
    Checkpoint(id, step, Get(id).latest_checkpoint());
    executor_.WorkerEnds("jobs/" + id, v1::Attempt::PAUSED_OK, step);
  }
  v1::Attempt AttemptOf(const std::string& id, int number) {
    v1::Attempt attempt;
    EXPECT_OK(store_->Read([&](Connection& db) -> absl::Status {
      auto loaded = LoadAttempt(db, id, number);
      if (loaded.ok()) attempt = *loaded;
      return loaded.status();
    }));
    return attempt;
  }
};

constexpr absl::Duration kNone = absl::ZeroDuration();
const QueueRules kPreempts = {.scheduling = {.preemption = true, .preemption_min_time = kNone}};

TEST_F(ReconcilerScheduleTest, HigherPriorityTakesTheDeviceAndTheVictimResumes) {
  Use(kPreempts);
  StartRunning("low");
  Spool("low", {Step(1), Step(2)});
  Submit("high", "priority: 5");
  ASSERT_TRUE(Until("low", Job::PAUSING));
  EXPECT_EQ(Reason(), "preempted by jobs/high of priority 5");
  EXPECT_EQ(Get("low").desired_state(), Job::DESIRED_RUN);
  Rounds(2);
  EXPECT_EQ(executor_.signals.back().action, internal::PAUSE) << "with a checkpoint";
  EXPECT_EQ(Get("high").state(), Job::QUEUED) << "until the device is free";
  EndsPaused("low", 2);
  ASSERT_TRUE(Until("high", Job::STARTING));
  const Job low = Get("low");
  EXPECT_EQ(low.state(), Job::QUEUED);
  EXPECT_EQ(low.wait_reason(), Job::PREEMPTED);
  EXPECT_FALSE(low.has_error());
  EXPECT_EQ(Load(*store_, "low").ledger.failures_without_progress(), 0);
  EXPECT_EQ(AttemptOf("low", 1).end(), v1::Attempt::PREEMPTED_OK);
  EXPECT_EQ(DeviceHolder(), "jobs/high");
  Spool("high", {"stage {stage: 'Train'}"});
  ASSERT_TRUE(Until("high", Job::RUNNING));
  Rounds(5);
  EXPECT_EQ(Get("high").state(), Job::RUNNING) << "the lower one takes nothing back";
  Checkpoint("high", 3);
  executor_.WorkerEnds("jobs/high", v1::Attempt::FAILED);
  executor_.Newest("jobs/high").worker_exit->mutable_error()->set_code("E");
  ASSERT_TRUE(Until("low", Job::STARTING));
  EXPECT_EQ(Get("low").attempt(), 2);
  EXPECT_NE(executor_.launches.back().resume_name(), "") << "from its newest checkpoint";
}

TEST_F(ReconcilerScheduleTest, PreemptionSurvivesACrashOfTheDaemonAtEachStep) {
  Use(kPreempts);
  StartRunning("low");
  Submit("high", "priority: 1");
  ASSERT_TRUE(Until("low", Job::PAUSING));
  Restart();
  Rounds(2);
  EXPECT_EQ(executor_.signals.back().action, internal::PAUSE);
  EndsPaused("low", 4);
  Restart();  // It closes the attempt before it serves.
  ASSERT_TRUE(Until("high", Job::STARTING));
  EXPECT_EQ(Get("low").wait_reason(), Job::PREEMPTED);
  EXPECT_EQ(Get("low").state(), Job::QUEUED);
}

TEST_F(ReconcilerScheduleTest, AYoungJobIsSafe) {
  Use({.scheduling = {.preemption = true, .preemption_min_time = absl::Minutes(10)}});
  StartRunning("low");
  Submit("high", "priority: 1");
  Rounds(10);
  EXPECT_EQ(Get("low").state(), Job::RUNNING);
  clock_.Advance(absl::Minutes(10));
  EXPECT_TRUE(Until("low", Job::PAUSING));
}

TEST_F(ReconcilerScheduleTest, NothingIsPreemptedByDefaultOrByEqualPriority) {
  StartRunning("low");
  Submit("high", "priority: 100");
  clock_.Advance(absl::Hours(9));
  Rounds(5);
  EXPECT_EQ(Get("low").state(), Job::RUNNING);
  Use({.scheduling = {
           .priority_aging = absl::Seconds(1), .preemption = true, .preemption_min_time = kNone}});
  Command(jobs_->Stop(Stop("high"), "t"));
  Submit("equal");
  clock_.Advance(absl::Hours(9));
  Rounds(5);
  EXPECT_EQ(Get("low").state(), Job::RUNNING) << "age does not preempt";
}

TEST_F(ReconcilerScheduleTest, AJobThatSavesItsFinalModelFinishes) {
  Use(kPreempts);
  const std::string name = StartRunning("low", "limits: {max_attempt_time: 1h}");
  Spool("low", {Step(1), "stage {stage: 'SaveFinal'}"});
  Rounds(2);
  Submit("high", "priority: 9");
  clock_.Advance(absl::Hours(2));
  Rounds(5);
  EXPECT_EQ(Get("low").state(), Job::RUNNING);
}

TEST_F(ReconcilerScheduleTest, AUsersPauseWinsOverPreemption) {
  Use(kPreempts);
  StartRunning("low");
  Submit("high", "priority: 1");
  ASSERT_TRUE(Until("low", Job::PAUSING));
  Command(jobs_->Pause(Pause("low"), "t"));
  EndsPaused("low", 4);
  ASSERT_TRUE(Until("low", Job::PAUSED));
  ASSERT_TRUE(Until("high", Job::STARTING));
}

TEST_F(ReconcilerScheduleTest, PreemptedJobWithoutACheckpointStartsOver) {
  Use(kPreempts);
  StartRunning("low");
  Submit("high", "priority: 1");
  ASSERT_TRUE(Until("low", Job::PAUSING));
  executor_.WorkerEnds("jobs/low", v1::Attempt::PAUSED_OK);
  ASSERT_TRUE(Until("high", Job::STARTING));
  EXPECT_EQ(Get("low").state(), Job::QUEUED);
  EXPECT_EQ(Get("low").wait_reason(), Job::PREEMPTED);
}

TEST_F(ReconcilerScheduleTest, TimeSlicesTakeTurns) {
  const std::string slice = "limits: {max_attempt_time: 60s}";
  StartRunning("a", slice);
  Submit("b", slice);
  std::string running = "a", waiting = "b";
  int64_t step = 0;
  for (int turn = 0; turn < 4; ++turn) {
    clock_.Advance(absl::Seconds(61));
    ASSERT_TRUE(Until(running, Job::PAUSING)) << turn;
    EXPECT_EQ(Get(running).desired_state(), Job::DESIRED_RUN);
    EndsPaused(running, ++step);
    ASSERT_TRUE(Until(waiting, Job::STARTING)) << turn << ": the other one's turn";
    EXPECT_EQ(Get(running).wait_reason(), Job::PREEMPTED);
    EXPECT_EQ(Load(*store_, running).ledger.failures_without_progress(), 0);
    Spool(waiting, {"stage {stage: 'Train'}"});
    ASSERT_TRUE(Until(waiting, Job::RUNNING));
    std::swap(running, waiting);
  }
}

TEST_F(ReconcilerScheduleTest, ATimeSliceTooShortForACheckpointFailsTheJobInTheEnd) {
  const std::string name = Submit("a", "limits: {max_attempt_time: 10s}");
  for (int attempt = 1; attempt <= 3; ++attempt) {
    ASSERT_TRUE(Until("a", Job::STARTING));
    clock_.Advance(absl::Seconds(11));
    ASSERT_TRUE(Until("a", Job::PAUSING)) << attempt;
    executor_.WorkerEnds(name, v1::Attempt::PAUSED_OK);
    ASSERT_TRUE(Until("a", attempt < 3 ? Job::STARTING : Job::FAILED));
    EXPECT_EQ(Get("a").error().code(), "ATTEMPT_TIME_LIMIT");
    EXPECT_EQ(AttemptOf("a", attempt).error().code(), "ATTEMPT_TIME_LIMIT");
  }
  EXPECT_EQ(Get("a").error().cause(), v1::JobError::LIMIT);
}

TEST_F(ReconcilerScheduleTest, AnUpdatedTimeSliceIsInForceAtOnce) {
  StartRunning("a");
  clock_.Advance(absl::Hours(1));
  Rounds(2);
  EXPECT_EQ(Get("a").state(), Job::RUNNING);
  Command(jobs_->Update(FromText<v1::UpdateJobRequest>(
                            "job {name: 'jobs/a' config {limits {max_attempt_time {seconds: 60}}}} "
                            "update_mask {paths: 'config.limits.max_attempt_time'}"),
                        "t"));
  EXPECT_TRUE(Until("a", Job::PAUSING, /*rounds=*/3));
}

TEST_F(ReconcilerScheduleTest, JobsBeyondAQuotaShowItAndStartWhenItAllows) {
  Use({.quotas = {.max_running_jobs = 1}});
  UseDevices(2);
  StartRunning("a");
  Submit("b");
  Submit("c");
  Rounds(3);
  EXPECT_EQ(Get("b").wait_reason(), Job::QUOTA) << "a device is free";
  EXPECT_EQ(Get("c").wait_reason(), Job::QUOTA);
  Command(jobs_->Stop(Stop("a", "DISCARD"), "t"));
  executor_.WorkerEnds("jobs/a", v1::Attempt::DISCARDED);
  ASSERT_TRUE(Until("b", Job::STARTING));
  Rounds(3);
  EXPECT_EQ(Get("c").wait_reason(), Job::QUOTA);
  // The next daemon has no quota.
  Use({});
  UseDevices(2);
  ASSERT_TRUE(Until("c", Job::STARTING));
}

TEST_F(ReconcilerScheduleTest, AQuotaThatNoLongerKeepsAJobIsNotShown) {
  Use({.quotas = {.max_running_jobs_per_owner = 1}});
  StartRunning("a");
  Submit("b");
  Rounds(3);
  EXPECT_EQ(Get("b").wait_reason(), Job::QUOTA);
  Use({});
  Rounds(3);
  EXPECT_EQ(Get("b").wait_reason(), Job::RESOURCES) << "now only the device is missing";
}

TEST_F(ReconcilerScheduleTest, OnlyTheHeadOfALongQueueShowsTheQuota) {
  Use({.quotas = {.max_running_jobs = 1}});
  StartRunning("a");
  for (int i = 0; i < 30; ++i) Submit(absl::StrCat("j", i));
  Rounds(20);
  int shown = 0;
  for (int i = 0; i < 30; ++i) shown += Get(absl::StrCat("j", i)).wait_reason() == Job::QUOTA;
  EXPECT_EQ(shown, 16);
}

TEST_F(ReconcilerScheduleTest, AgedJobStartsBeforeAYoungerOneOfHigherPriority) {
  Use({.scheduling = {.priority_aging = absl::Minutes(1)}});
  StartRunning("a");
  Submit("old");
  clock_.Advance(absl::Minutes(10));
  Submit("young", "priority: 5");
  Command(jobs_->Stop(Stop("a", "DISCARD"), "t"));
  executor_.WorkerEnds("jobs/a", v1::Attempt::DISCARDED);
  EXPECT_TRUE(Until("old", Job::STARTING));
}

TEST_F(ReconcilerScheduleTest, UsageCountsDevicesWaitsAndLostSteps) {
  const std::string name = Submit("a", "suspended: true");
  clock_.Advance(absl::Seconds(100));  // HELD does not count
  Command(jobs_->Resume(Resume("a"), "t"));
  clock_.Advance(absl::Seconds(7));
  ASSERT_TRUE(Until("a", Job::STARTING));
  Spool("a", {"stage {stage: 'Train'}"});
  ASSERT_TRUE(Until("a", Job::RUNNING));
  for (int step = 1; step <= 4; ++step)
    Spool("a", {absl::StrCat("metrics {step: ", step, " tokens: 10 step_seconds: 2}")});
  Checkpoint("a", 3);
  clock_.Advance(absl::Seconds(60));
  executor_.WorkerCrashes(name);
  executor_.Newest(name).worker_exit.reset();
  ASSERT_TRUE(Until("a", Job::QUEUED));
  const v1::Usage usage = Get("a").usage();
  EXPECT_NEAR(usage.waiting_seconds(), 7, 1);
  EXPECT_NEAR(usage.device_seconds(), 61, 4);
  EXPECT_EQ(usage.tokens(), 40);
  EXPECT_DOUBLE_EQ(usage.lost_device_seconds(), 2) << "one step of four, of 2 s each";
}

}  // namespace
}  // namespace trainerd::server
