// SPDX-License-Identifier: Apache-2.0
// One open attempt, from its launch to the next state of its job: T5 to T7, T11.
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/io_faults.h"
#include "tests/server/reconcile/reconciler_fixture.h"

namespace trainerd::server {
namespace {

using ReconcilerAttemptTest = ReconcilerTest;

TEST_F(ReconcilerAttemptTest, RunsAJobToItsVerifiedFinalModel) {
  const std::string name = StartRunning("a");
  EXPECT_EQ(DeviceHolder(), name);
  const internal::AttemptSpec spec = executor_.launches.at(0);
  ASSERT_EQ(spec.devices_size(), 1);
  EXPECT_EQ(spec.devices(0), "cpu") << "auto on a machine without cuda";
  EXPECT_EQ(spec.cpu_threads(), 2);
  EXPECT_EQ(spec.config().config_digest(), Get("a").config_digest());
  Spool("a", {Step(1), Step(2)});
  WriteFolder(RunDir("a") + "/final", "a", 2, 1, "", "final");
  executor_.WorkerEnds(name, v1::Attempt::COMPLETED, 2);
  ASSERT_TRUE(Until("a", Job::SUCCEEDED));
  EXPECT_EQ(DeviceHolder(), "");
  EXPECT_TRUE(Get("a").has_end_time());
}

TEST_F(ReconcilerAttemptTest, LastEventNamesTheCriticalAlert) {
  const std::string name = StartRunning("a");
  Spool("a", {Step(1), "alert {type: 'plateau' active: true severity: INFO step: 1}",
              "alert {type: 'diverged' active: true severity: CRITICAL step: 1}"});
  WriteFolder(RunDir("a") + "/final", "a", 1, 1, "", "final");
  executor_.WorkerEnds(name, v1::Attempt::COMPLETED, 1);
  ASSERT_TRUE(Until("a", Job::SUCCEEDED));
  EXPECT_EQ(Get("a").alerts_size(), 2);
  v1::StateChanged last;
  for (const v1::Event& event : recorder_.Events()) {
    if (event.has_state_changed()) last = event.state_changed();
  }
  EXPECT_EQ(last.reason(), "the final model is verified; CRITICAL alert at the end: diverged");
}

TEST_F(ReconcilerAttemptTest, NewAttemptHasTheAlertsOfItsCheckpoint) {
  const std::string name = StartRunning("a");
  Spool("a", {Step(1), "alert {type: 'loss_spike' active: true severity: WARNING step: 1}"});
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").alerts_size(), 1);
  clock_.Advance(absl::Hours(1));
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(Get("a").alerts_size(), 0) << "the attempt starts before the step of the alert";
}

// T11
TEST_F(ReconcilerAttemptTest, DoesNotSucceedWhenTheFinalModelDoesNotReadBack) {
  const std::string name = StartRunning("a");
  Spool("a", {Step(1)});
  WriteFolder(RunDir("a") + "/final", "a", 1, 1, "", "final");
  std::ofstream(RunDir("a") + "/final/model.safetensors") << "weights of step X";
  executor_.WorkerEnds(name, v1::Attempt::COMPLETED, 1);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").error().code(), "FINAL_NOT_VERIFIED");
}

TEST_F(ReconcilerAttemptTest, IngestsTheWholeSpoolBeforeTheTerminalState) {
  const std::string name = StartRunning("a");
  std::vector<std::string> steps;
  for (int i = 1; i <= 1500; ++i) steps.push_back(Step(i));
  executor_.WorkerEnds(name, v1::Attempt::COMPLETED, 1500);
  Spool("a", steps);
  WriteFolder(RunDir("a") + "/final", "a", 1500, 1, "", "final");
  ASSERT_TRUE(Until("a", Job::SUCCEEDED));
  int64_t step = 0;
  const std::vector<v1::Event> events = recorder_.Events();
  for (const v1::Event& e : events) {
    if (e.has_metrics()) {
      EXPECT_EQ(e.metrics().step(), ++step) << "once, in order, without a gap";
    }
  }
  EXPECT_EQ(step, 1500);
  EXPECT_EQ(events.back().state_changed().to_state(), Job::SUCCEEDED);
}

// T5
TEST_F(ReconcilerAttemptTest, RecordsTheVerifiedResumePointAndFreesTheDeviceOnPause) {
  const std::string name = StartRunning("a", "limits: {stop_grace: 60s}");
  Spool("a", {Step(1), Step(2)});
  Command(jobs_->Pause(Pause("a"), "t"));
  Rounds(2);
  ASSERT_FALSE(executor_.signals.empty());
  EXPECT_EQ(executor_.signals[0].action, internal::PAUSE);
  EXPECT_GT(executor_.signals[0].grace, absl::Seconds(50));
  EXPECT_EQ(Get("a").state(), Job::PAUSING);
  EXPECT_EQ(DeviceHolder(), name);
  const std::string checkpoint = Checkpoint("a", 2);
  executor_.WorkerEnds(name, v1::Attempt::PAUSED_OK, 2);
  ASSERT_TRUE(Until("a", Job::PAUSED));
  EXPECT_EQ(Get("a").latest_checkpoint(), checkpoint);
  EXPECT_EQ(DeviceHolder(), "");
  Command(jobs_->Resume(Resume("a"), "t"));
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(executor_.launches.at(1).attempt(), 2);
  EXPECT_EQ(executor_.launches.at(1).resume_name(), checkpoint);
  EXPECT_EQ(Get("a").progress().step(), 2);
  EXPECT_EQ(Get("a").progress().tokens(), 20);
}

TEST_F(ReconcilerAttemptTest, HoldsAJobInTheQueueThatIsPausedBeforeItsFirstCheckpoint) {
  const std::string name = StartRunning("a");
  Command(jobs_->Pause(Pause("a"), "t"));
  executor_.WorkerEnds(name, v1::Attempt::PAUSED_OK);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").wait_reason(), Job::HELD);
  Rounds(10);
  EXPECT_EQ(executor_.launches.size(), 1u) << "held";
}

// T6
TEST_F(ReconcilerAttemptTest, EndsAsStoppedOnlyWithAVerifiedCheckpoint) {
  std::string name = StartRunning("a");
  Command(jobs_->Stop(Stop("a"), "t"));
  Checkpoint("a", 3);
  executor_.WorkerEnds(name, v1::Attempt::STOPPED_OK, 3);
  ASSERT_TRUE(Until("a", Job::STOPPED));
  EXPECT_NE(Get("a").latest_checkpoint(), "");
  name = StartRunning("b");
  Command(jobs_->Stop(Stop("b"), "t"));
  executor_.WorkerEnds(name, v1::Attempt::STOPPED_OK, 3);
  EXPECT_TRUE(Until("b", Job::CANCELLED));
}

TEST_F(ReconcilerAttemptTest, RetriesACrashFromTheLastVerifiedCheckpointUpToTheBudget) {
  const std::string name = StartRunning("a");
  Spool("a", {Step(1), Step(2), Step(3)});
  const std::string checkpoint = Checkpoint("a", 2);
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").wait_reason(), Job::BACKOFF);
  EXPECT_TRUE(Get("a").has_not_before());
  EXPECT_EQ(Get("a").error().code(), "WORKER_CRASHED");
  EXPECT_EQ(executor_.launches.size(), 1u);
  const std::vector<v1::Event> events = recorder_.Events();
  EXPECT_TRUE(absl::StrContains(events.back().state_changed().reason(), "1 step is lost"))
      << events.back().state_changed().reason();
  for (int failures = 1; failures <= 3; ++failures) {
    clock_.Advance(absl::Minutes(6));
    ASSERT_TRUE(Until("a", Job::STARTING));
    EXPECT_EQ(executor_.launches.back().resume_name(), checkpoint);
    executor_.WorkerCrashes(name);
    ASSERT_TRUE(Until("a", failures < 3 ? Job::QUEUED : Job::FAILED)) << failures;
  }
  EXPECT_EQ(Get("a").attempt(), 4) << "the first one had advanced the checkpoint";
}

TEST_F(ReconcilerAttemptTest, QueriesTheDevicesAfterAFaultOfTheHardware) {
  const std::string name = StartRunning("a");
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(device_queries_, 0);
  clock_.Advance(absl::Minutes(6));
  ASSERT_TRUE(Until("a", Job::STARTING));
  executor_.WorkerFails(name, "DEVICE_FAULT");
  executor_.Newest(name).worker_exit->mutable_error()->set_cause(v1::JobError::HARDWARE);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(device_queries_, 1);
}

TEST_F(ReconcilerAttemptTest, KeepsTheErrorOfAnAttemptUntilTheNextOneTrains) {
  const std::string name = StartRunning("a");
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  clock_.Advance(absl::Minutes(6));
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(Get("a").error().code(), "WORKER_CRASHED");
  Spool("a", {"stage {stage: 'Train'}"});
  ASSERT_TRUE(Until("a", Job::RUNNING));
  EXPECT_FALSE(Get("a").has_error());
  Command(jobs_->Stop(Stop("a"), "t"));
  Checkpoint("a", 3);
  executor_.WorkerEnds(name, v1::Attempt::STOPPED_OK, 3);
  ASSERT_TRUE(Until("a", Job::STOPPED));
  EXPECT_FALSE(Get("a").has_error());
  EXPECT_FALSE(recorder_.Events().back().state_changed().has_error());
}

TEST_F(ReconcilerAttemptTest, AdoptsUnrecordedCheckpointBeforeChoosingResumePoint) {
  const std::string name = StartRunning("a");
  const std::string first = Checkpoint("a", 2);
  Round();
  const std::string unrecorded = Checkpoint("a", 4, first, /*event=*/false);
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").latest_checkpoint(), unrecorded);
  ASSERT_EQ(CheckpointEvents(v1::CheckpointEvent::ADOPTED).size(), 1u);
  EXPECT_FALSE(CheckpointEvents(v1::CheckpointEvent::ADOPTED)[0].checkpoint().superseded());
}

TEST_F(ReconcilerAttemptTest, ContinuesProgressFromTheTokensOfAnAdoptedCheckpoint) {
  const std::string name = StartRunning("a");
  // Its worker was killed before it reported a step, as on a full disk.
  const std::string unrecorded = Checkpoint("a", 4, "", /*event=*/false);
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  clock_.Advance(absl::Minutes(6));
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(executor_.launches.back().resume_name(), unrecorded);
  EXPECT_EQ(Get("a").progress().step(), 4);
  EXPECT_EQ(Get("a").progress().tokens(), 40);
  Spool("a", {Step(5)});
  Rounds(2);
  EXPECT_EQ(Get("a").progress().tokens(), 50);
}

TEST_F(ReconcilerAttemptTest, DoesNotAdoptAFolderThatDoesNotReadBack) {
  const std::string name = StartRunning("a");
  const std::string first = Checkpoint("a", 2);
  Checkpoint("a", 4, first, /*event=*/false);
  std::ofstream(RunDir("a") + "/checkpoints/step-00000004-a1/model.safetensors")
      << "weights of step 5";
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").latest_checkpoint(), first);
}

// T7
TEST_F(ReconcilerAttemptTest, ReportsControlLostAndKeepsTheDeviceOfASilentShim) {
  const std::string name = StartRunning("a");
  executor_.Newest(name).kind = Kind::kUnknown;
  Rounds(10);
  EXPECT_TRUE(Active("a", "ControlLost"));
  EXPECT_EQ(Get("a").state(), Job::RUNNING);
  EXPECT_EQ(DeviceHolder(), name);
  EXPECT_TRUE(executor_.kills.empty());
  executor_.Newest(name).kind = Kind::kRunning;
  Rounds(10);
  EXPECT_FALSE(Active("a", "ControlLost"));
}

TEST_F(ReconcilerAttemptTest, KillsTheWorkerOfADeadShimAfterTheGraceAndRecordsLost) {
  const std::string name = StartRunning("a", "limits: {stop_grace: 5s}");
  executor_.Newest(name).kind = Kind::kUnknown;
  Rounds(15);
  EXPECT_TRUE(executor_.kills.empty());
  Rounds(20);
  EXPECT_FALSE(executor_.kills.empty());
  executor_.Newest(name).kind = Kind::kGone;
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").error().code(), "ATTEMPT_LOST");
}

TEST_F(ReconcilerAttemptTest, KillsTwoSecondsAfterAForcedStop) {
  StartRunning("a");
  Command(jobs_->Stop(Stop("a", "FORCE"), "t"));
  Rounds(5);
  EXPECT_EQ(executor_.signals.back().action, internal::DISCARD);
  Rounds(10);
  EXPECT_EQ(executor_.signals.back().action, internal::KILL);
}

TEST_F(ReconcilerAttemptTest, StopsGracefullyAtTheRunTimeLimitAndFailsWithItsCause) {
  const std::string name = StartRunning("a", "limits: {max_run_time: 60s}");
  clock_.Advance(absl::Seconds(61));
  ASSERT_TRUE(Until("a", Job::STOPPING));
  Rounds(2);
  EXPECT_EQ(executor_.signals.back().action, internal::STOP);
  Checkpoint("a", 5);
  executor_.WorkerEnds(name, v1::Attempt::STOPPED_OK, 5);
  ASSERT_TRUE(Until("a", Job::FAILED));
  EXPECT_EQ(Get("a").error().cause(), v1::JobError::LIMIT);
  EXPECT_NE(Get("a").latest_checkpoint(), "");
}

TEST_F(ReconcilerAttemptTest, ReportsStalledWithoutStepsAndClearsItAtTheNextStep) {
  StartRunning("a");
  Spool("a", {Step(1)});
  Rounds(2);
  activity_->Start("jobs/a", clock_.Now());
  clock_.Advance(absl::Minutes(6));
  Rounds(10);
  EXPECT_TRUE(Active("a", "Stalled"));
  EXPECT_EQ(Get("a").state(), Job::RUNNING);
  Spool("a", {Step(2)});
  ingester_->PassOnce();
  EXPECT_FALSE(Active("a", "Stalled"));
}

// A folder that cannot be listed: a link to itself in place of a disk with errors.
class UnreadableFolder {
 public:
  explicit UnreadableFolder(std::string path) : path_(std::move(path)) {
    std::filesystem::rename(path_, path_ + ".away");
    std::filesystem::create_symlink(path_, path_);
  }
  ~UnreadableFolder() {
    std::filesystem::remove(path_);
    std::filesystem::rename(path_ + ".away", path_);
  }

 private:
  const std::string path_;
};

TEST_F(ReconcilerAttemptTest, RepeatsAFailedScanAndDecidesNothing) {
  const std::string name = StartRunning("a");
  const std::string first = Checkpoint("a", 2);
  Rounds(2);
  const std::string unrecorded = Checkpoint("a", 4, first, /*event=*/false);
  {
    const UnreadableFolder gone(RunDir("a") + "/checkpoints");
    executor_.WorkerCrashes(name);
    Rounds(60);
    EXPECT_EQ(Get("a").state(), Job::RUNNING);
    EXPECT_EQ(DeviceHolder(), name);
    EXPECT_TRUE(absl::StrContains(Message("a", "Degraded"), "checkpoints"))
        << Message("a", "Degraded");
    EXPECT_EQ(Notices("CHECKPOINTS_UNREADABLE"), 1);
  }
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").latest_checkpoint(), unrecorded);
  EXPECT_FALSE(Active("a", "Degraded"));
}

TEST_F(ReconcilerAttemptTest, DoesNotCancelAStoppedJobWhoseCheckpointsCannotBeRead) {
  const std::string name = StartRunning("a");
  Command(jobs_->Stop(Stop("a"), "t"));
  const std::string unrecorded = Checkpoint("a", 4, "", /*event=*/false);
  {
    const UnreadableFolder gone(RunDir("a") + "/checkpoints");
    executor_.WorkerEnds(name, v1::Attempt::STOPPED_OK, 4);
    Rounds(30);
    EXPECT_EQ(Get("a").state(), Job::STOPPING);
    // It does not delay the start of a daemon.
    Crash();
    Start();
    EXPECT_EQ(Get("a").state(), Job::STOPPING);
  }
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(Until("a", Job::STOPPED));
  EXPECT_EQ(Get("a").latest_checkpoint(), unrecorded);
}

TEST_F(ReconcilerAttemptTest, EndsADiscardedJobWhoseCheckpointsCannotBeRead) {
  const std::string name = StartRunning("a");
  Checkpoint("a", 4);
  Rounds(2);
  const UnreadableFolder gone(RunDir("a") + "/checkpoints");
  executor_.WorkerCrashes(name);
  Rounds(30);
  EXPECT_EQ(Get("a").state(), Job::RUNNING);
  Command(jobs_->Stop(Stop("a", "DISCARD"), "t"));
  ASSERT_TRUE(Until("a", Job::CANCELLED));
  EXPECT_FALSE(Active("a", "Degraded"));
}

TEST_F(ReconcilerAttemptTest, AdoptsAnUnreadableCheckpointLaterAndDelaysScans) {
  const std::string name = StartRunning("a");
  const std::string first = Checkpoint("a", 2);
  Rounds(2);
  const std::string unrecorded = Checkpoint("a", 4, first, /*event=*/false);
  {
    const IoFault fault(IoFaults::Call::kRead, "step-00000004-a1/model.safetensors", EIO);
    executor_.WorkerCrashes(name);
    Rounds(60);
    EXPECT_EQ(Get("a").state(), Job::RUNNING);
    EXPECT_TRUE(absl::StrContains(Message("a", "Degraded"), "step-00000004-a1/model.safetensors"))
        << Message("a", "Degraded");
    // 12 s: scans after 0, 2 and 6 s, each with a first and a second read.
    EXPECT_GE(IoFaults::Get().hits(), 2);
    EXPECT_LE(IoFaults::Get().hits(), 8);
  }
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").latest_checkpoint(), unrecorded);
}

TEST_F(ReconcilerAttemptTest, WaitsForAnUnreadableFinalModel) {
  const std::string name = StartRunning("a");
  Spool("a", {Step(1)});
  WriteFolder(RunDir("a") + "/final", "a", 1, 1, "", "final");
  {
    const IoFault fault(IoFaults::Call::kRead, "/final/model.safetensors", EIO);
    executor_.WorkerEnds(name, v1::Attempt::COMPLETED, 1);
    Rounds(20);
    EXPECT_EQ(Get("a").state(), Job::RUNNING);
  }
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(Until("a", Job::SUCCEEDED));
  EXPECT_EQ(Get("a").attempt(), 1);
}

// The table of spool positions cannot be read, as without a free descriptor.
TEST_F(ReconcilerAttemptTest, ReadsASpoolLaterThatCouldNotBeOpenedAtTheLaunch) {
  Sql("ALTER TABLE spool_positions RENAME TO hidden");
  const std::string name = Submit("a");
  ASSERT_TRUE(Until("a", Job::STARTING));
  std::filesystem::create_directories(AttemptDir(RunDir("a"), 1));
  Spool("a", {Step(1)});
  executor_.WorkerCrashes(name);
  Rounds(5);
  EXPECT_EQ(Get("a").state(), Job::STARTING);
  Sql("ALTER TABLE hidden RENAME TO spool_positions");
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").error().code(), "WORKER_CRASHED");
  EXPECT_EQ(Get("a").progress().step(), 1);
}

}  // namespace
}  // namespace trainerd::server
