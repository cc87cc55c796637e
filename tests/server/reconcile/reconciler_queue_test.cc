// SPDX-License-Identifier: Apache-2.0
// Queued jobs: which one starts, from which checkpoint, and why the others wait.
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "proto/contract/job/names.h"
#include "proto/contract/job/plan/disk_use.h"
#include "server/ledger/ledger.h"
#include "tests/io_faults.h"
#include "tests/server/reconcile/reconciler_fixture.h"

namespace trainerd::server {
namespace {

using ReconcilerQueueTest = ReconcilerTest;

TEST_F(ReconcilerQueueTest, SkipsADamagedCheckpointAndSupersedesThoseBeyond) {
  const std::string name = StartRunning("a");
  const std::string first = Checkpoint("a", 2);
  const std::string second = Checkpoint("a", 4, first);
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").latest_checkpoint(), second);
  std::filesystem::remove(RunDir("a") + "/checkpoints/step-00000004-a1/model.safetensors");
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(executor_.launches.back().resume_name(), first);
  EXPECT_EQ(CheckpointEvents(v1::CheckpointEvent::SUPERSEDED).size(), 1u);
}

// The sizes match and only the hashes differ, which the worker compares. The next attempt starts
// from an older checkpoint.
TEST_F(ReconcilerQueueTest, DoesNotResumeAgainFromACheckpointThatTheWorkerFoundDamaged) {
  const std::string name = StartRunning("a");
  const std::string first = Checkpoint("a", 2);
  const std::string second = Checkpoint("a", 4, first);
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  std::ofstream(RunDir("a") + "/checkpoints/step-00000004-a1/model.safetensors")
      << "weights of step 5";
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(executor_.launches.back().resume_name(), second);
  executor_.WorkerFails(name, "CHECKPOINT_DAMAGED");
  ASSERT_TRUE(Until("a", Job::QUEUED));
  clock_.Advance(absl::Minutes(6));
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(executor_.launches.back().resume_name(), first);
}

// A job that starts from a damaged checkpoint of another job cannot be retried. Its error names the
// checkpoint to start from instead.
TEST_F(ReconcilerQueueTest, FailsAJobWhoseStartIsDamagedAndNamesTheOlderCheckpoint) {
  const std::string name = StartRunning("a");
  const std::string first = Checkpoint("a", 2);
  const std::string second = Checkpoint("a", 4, first);
  executor_.WorkerEnds(name, v1::Attempt::COMPLETED, 4);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").latest_checkpoint(), second);
  Command(jobs_->Pause(Pause("a"), "t"));
  const std::string other =
      Submit("b", absl::StrCat("init_from: {checkpoint: ", second, ", state: full}"));
  ASSERT_TRUE(Until("b", Job::STARTING));
  executor_.WorkerFails(other, "CHECKPOINT_DAMAGED", /*retryable=*/false);
  ASSERT_TRUE(Until("b", Job::FAILED));
  EXPECT_EQ(Get("b").attempt(), 1);
  EXPECT_TRUE(absl::StrContains(Get("b").error().message(), "--from " + first))
      << Get("b").error().message();
  EXPECT_EQ(Get("a").latest_checkpoint(), first);
  EXPECT_EQ(CheckpointEvents(v1::CheckpointEvent::FAILED).size(), 1u);
}

TEST_F(ReconcilerQueueTest, FailsAJobWithoutReadableCheckpointsInsteadOfStartingAgain) {
  const std::string name = StartRunning("a");
  Checkpoint("a", 2);
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  std::filesystem::remove_all(RunDir("a") + "/checkpoints");
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(Until("a", Job::FAILED));
  EXPECT_EQ(Get("a").error().code(), "CHECKPOINTS_LOST");
}

TEST_F(ReconcilerQueueTest, KeepsJobsQueuedWithTheReasonWhenAProgramIsMissing) {
  missing_ = "worker";
  Submit("a");
  Rounds(2);
  EXPECT_EQ(Get("a").wait_reason(), Job::EXECUTOR_UNREACHABLE);
  ASSERT_TRUE(Active("a", "Degraded"));
  EXPECT_TRUE(absl::StrContains(Get("a").conditions(0).message(), "program worker is missing"));
  missing_ = "";
  Rounds(30);
  EXPECT_EQ(Get("a").state(), Job::STARTING);
  EXPECT_FALSE(Active("a", "Degraded"));
}

TEST_F(ReconcilerQueueTest, FailsAJobForAMissingDevice) {
  // As if submitted before the machine was known: the command itself would refuse it.
  AddJob(*store_, "a", RunDir("a"), "resources: {device: 'cuda:3'}");
  ASSERT_TRUE(Until("a", Job::FAILED));
  EXPECT_EQ(Get("a").error().code(), "DEVICE_NOT_FOUND");
  EXPECT_EQ(Get("a").error().cause(), v1::JobError::USER);
}

TEST_F(ReconcilerQueueTest, RunsOneJobPerDeviceInOrderOfPriority) {
  const std::string first = StartRunning("a");
  Submit("b");
  Submit("c", "priority: 7");
  Rounds(5);
  EXPECT_EQ(executor_.launches.size(), 1u);
  Command(jobs_->Stop(Stop("a", "DISCARD"), "t"));
  executor_.WorkerEnds(first, v1::Attempt::DISCARDED);
  ASSERT_TRUE(Until("c", Job::STARTING));
  EXPECT_EQ(Get("b").state(), Job::QUEUED);
  EXPECT_EQ(Get("a").state(), Job::CANCELLED);
}

// A queued job with two checkpoints, whose attempt has crashed.
class ResumePointTest : public ReconcilerTest {
 protected:
  void CrashedAfterTwo() {
    name_ = StartRunning("a");
    first_ = Checkpoint("a", 2);
    second_ = Checkpoint("a", 4, first_);
    executor_.WorkerCrashes(name_);
    ASSERT_TRUE(Until("a", Job::QUEUED));
    ASSERT_EQ(Get("a").latest_checkpoint(), second_);
  }
  v1::Checkpoint Row(const std::string& name) {
    v1::Checkpoint found;
    EXPECT_OK(store_->Read([&](Connection& db) -> absl::Status {
      auto row = FindCheckpoint(db, "a", CheckpointId(name));
      if (row.ok() && row->has_value()) found = (*row)->checkpoint;
      return row.status();
    }));
    return found;
  }
  // Marks a checkpoint as the choice of the resume point marks a damaged one.
  void MarkDamaged(const std::string& name) {
    ASSERT_OK(store_->Change([&](Transaction& t) { return MarkCorrupt(t, Row(name), "damaged"); }));
  }
  std::string name_, first_, second_;
};

TEST_F(ResumePointTest, DoesNotMarkCorruptAfterReadErrors) {
  CrashedAfterTwo();
  clock_.Advance(absl::Minutes(1));
  {
    const IoFault fault(IoFaults::Call::kRead, "step-00000004-a1/MANIFEST.json", EIO);
    Rounds(20);
    EXPECT_GT(IoFaults::Get().hits(), 0);
  }
  {
    const IoFault fault(IoFaults::Call::kOpen, "step-00000004-a1/MANIFEST.json", EACCES);
    Rounds(1);
    EXPECT_TRUE(Row(second_).verified());
    EXPECT_EQ(Get("a").state(), Job::QUEUED);
    EXPECT_TRUE(absl::StrContains(Message("a", "Degraded"), "step-00000004-a1/MANIFEST.json"))
        << Message("a", "Degraded");
    EXPECT_EQ(Notices("CHECKPOINTS_UNREADABLE"), 1) << "reported once, not in every round";
    Rounds(20);
    EXPECT_EQ(executor_.launches.size(), 1u);
  }
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(executor_.launches.back().resume_name(), second_);
  EXPECT_FALSE(Active("a", "Degraded"));
}

// The worker cannot distinguish an I/O error from damage. The daemon meets the same error and
// waits.
TEST_F(ResumePointTest, DoesNotMarkCorruptWhenTheWorkerMetAReadError) {
  CrashedAfterTwo();
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(Until("a", Job::STARTING));
  {
    const IoFault fault(IoFaults::Call::kRead, "step-00000004-a1/model.safetensors", EIO);
    executor_.WorkerFails(name_, "CHECKPOINT_DAMAGED");
    Rounds(20);
    EXPECT_EQ(Get("a").state(), Job::STARTING);
  }
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_TRUE(Row(second_).verified());
  clock_.Advance(absl::Minutes(6));
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(executor_.launches.back().resume_name(), second_);
}

TEST_F(ResumePointTest, UsesOlderCheckpointWhenKilledAfterMarkingNewest) {
  CrashedAfterTwo();
  MarkDamaged(second_);
  Crash();
  Start();
  clock_.Advance(absl::Minutes(6));
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(executor_.launches.back().resume_name(), first_);
  EXPECT_EQ(Get("a").progress().step(), 2);
}

TEST_F(ResumePointTest, DoesNotStartFromTheBeginningWhenKilledAfterMarkingAll) {
  CrashedAfterTwo();
  MarkDamaged(second_);
  MarkDamaged(first_);
  Crash();
  Start();
  clock_.Advance(absl::Minutes(6));
  ASSERT_TRUE(Until("a", Job::FAILED));
  EXPECT_EQ(Get("a").error().code(), "CHECKPOINTS_LOST");
  EXPECT_EQ(executor_.launches.size(), 1u);
}

// A change that could not be stored (as on a full disk) is repeated.
TEST_F(ReconcilerQueueTest, FailsAJobForAMissingDeviceOnceThatCanBeStored) {
  AddJob(*store_, "a", RunDir("a"), "resources: {device: 'cuda:3'}");
  Sql("CREATE TRIGGER full BEFORE UPDATE ON jobs BEGIN SELECT RAISE(ABORT, 'no space'); END");
  Rounds(10);
  EXPECT_EQ(Get("a").state(), Job::QUEUED);
  Sql("DROP TRIGGER full");
  ASSERT_TRUE(Until("a", Job::FAILED));
  EXPECT_EQ(Get("a").error().code(), "DEVICE_NOT_FOUND");
}

TEST_F(ReconcilerQueueTest, QueuesAJobForItsDeviceAgainOnceThatCanBeStored) {
  missing_ = "worker";
  Submit("a", "priority: 1");
  Submit("b");
  Rounds(2);
  EXPECT_EQ(Get("b").wait_reason(), Job::EXECUTOR_UNREACHABLE);
  missing_ = "";
  Sql("CREATE TRIGGER full BEFORE UPDATE ON jobs BEGIN SELECT RAISE(ABORT, 'no space'); END");
  Rounds(40);
  Sql("DROP TRIGGER full");
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(Get("b").wait_reason(), Job::RESOURCES);
  EXPECT_FALSE(Active("b", "Degraded"));
}

// A paused job whose last checkpoint has 100 bytes.
class ReconcilerSpaceTest : public ReconcilerTest {
 protected:
  static constexpr int64_t kNeeded = 100 + kCheckpointMarginBytes;
  void PauseWithCheckpoint(const std::string& id) {
    const std::string name = StartRunning(id, "retry: {max_failures_without_progress: 1}");
    Spool(id, {Step(1), Step(2)});
    Checkpoint(id, 2);
    Rounds(2);
    Command(jobs_->Pause(Pause(id), "t"));
    executor_.WorkerEnds(name, v1::Attempt::PAUSED_OK, 2);
    ASSERT_TRUE(Until(id, Job::PAUSED));
  }
};

TEST_F(ReconcilerSpaceTest, WaitsForSpaceWithoutUseOfTheBudget) {
  PauseWithCheckpoint("a");
  free_bytes_ = kNeeded - 1;
  Command(jobs_->Resume(Resume("a"), "t"));
  Rounds(300);
  EXPECT_EQ(Get("a").state(), Job::QUEUED);
  EXPECT_EQ(Get("a").wait_reason(), Job::DISK);
  EXPECT_EQ(executor_.launches.size(), 1u);
  EXPECT_EQ(Load(*store_, "a").ledger.failures_without_progress(), 0);
  EXPECT_THAT(Reason(), ::testing::HasSubstr("needs 64.1 KiB in"));
  EXPECT_THAT(Reason(), ::testing::HasSubstr("(1.2 times its last checkpoint), 64.1 KiB are free"));
  EXPECT_EQ(Message("a", "DiskLow"), Reason());
  const size_t events = recorder_.Events().size();
  Rounds(100);
  EXPECT_EQ(recorder_.Events().size(), events) << "a wait is reported once";
  free_bytes_ = kNeeded;
  clock_.Advance(absl::Seconds(10));
  EXPECT_TRUE(Until("a", Job::STARTING));
}

TEST_F(ReconcilerSpaceTest, IsCheckedEveryTenSeconds) {
  PauseWithCheckpoint("a");
  free_bytes_ = 0;
  Command(jobs_->Resume(Resume("a"), "t"));
  Rounds(60);
  free_bytes_ = kNeeded;
  EXPECT_TRUE(Until("a", Job::STARTING, /*rounds=*/55)) << "11 s";
}

TEST_F(ReconcilerSpaceTest, LetsAJobWithoutACheckpointPass) {
  PauseWithCheckpoint("a");
  free_bytes_ = 0;
  Command(jobs_->Resume(Resume("a"), "t"));
  Rounds(10);
  Submit("b");
  EXPECT_TRUE(Until("b", Job::STARTING));
  EXPECT_EQ(Get("a").wait_reason(), Job::DISK);
}

TEST_F(ReconcilerSpaceTest, TakesCommandsWhileItWaits) {
  PauseWithCheckpoint("a");
  free_bytes_ = 0;
  Command(jobs_->Resume(Resume("a"), "t"));
  Rounds(10);
  Command(jobs_->Pause(Pause("a"), "t"));
  EXPECT_EQ(Get("a").wait_reason(), Job::HELD);
  free_bytes_ = kNeeded;
  Rounds(100);
  EXPECT_EQ(Get("a").wait_reason(), Job::HELD);
  free_bytes_ = 0;
  Command(jobs_->Resume(Resume("a"), "t"));
  Rounds(10);
  EXPECT_EQ(Get("a").wait_reason(), Job::DISK);
  Crash();
  Start();
  Command(jobs_->Stop(Stop("a"), "t"));
  EXPECT_TRUE(Until("a", Job::STOPPED));
}

TEST_F(ReconcilerSpaceTest, RetryWaitsForSpaceToo) {
  const std::string name = StartRunning("a");
  Spool("a", {Step(1), Step(2)});
  Checkpoint("a", 2);
  Rounds(2);
  free_bytes_ = 50;
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  const int failures = Load(*store_, "a").ledger.failures_without_progress();
  clock_.Advance(absl::Minutes(6));
  Rounds(100);
  EXPECT_EQ(Get("a").wait_reason(), Job::DISK);
  EXPECT_EQ(Load(*store_, "a").ledger.failures_without_progress(), failures);
  free_bytes_ = kNeeded;
  clock_.Advance(absl::Seconds(10));
  EXPECT_TRUE(Until("a", Job::STARTING));
}

TEST_F(ReconcilerSpaceTest, WaitsBeforeTheFirstCheckpointForWhatTheWorkerNeeds) {
  const std::string name = Submit("a", "retry: {max_failures_without_progress: 1}");
  ASSERT_TRUE(Until("a", Job::STARTING));
  free_bytes_ = 499'999;
  executor_.WorkerFails(name, "DISK_SPACE");
  executor_.Newest(name).worker_exit->set_needed_bytes(500'000);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").wait_reason(), Job::DISK);
  EXPECT_EQ(Get("a").error().cause(), v1::JobError::STORAGE);
  EXPECT_EQ(Load(*store_, "a").ledger.failures_without_progress(), 0) << "T8";
  EXPECT_EQ(Message("a", "DiskLow"), Reason());
  Rounds(300);
  EXPECT_EQ(executor_.launches.size(), 1u);
  // The need is known from now on: another start is not tried.
  Command(jobs_->Pause(Pause("a"), "t"));
  Crash();
  Start();
  Command(jobs_->Resume(Resume("a"), "t"));
  Rounds(300);
  EXPECT_EQ(Get("a").wait_reason(), Job::DISK);
  EXPECT_EQ(executor_.launches.size(), 1u);
  EXPECT_THAT(Reason(), ::testing::HasSubstr("needs 488 KiB in"));
  EXPECT_THAT(Reason(), ::testing::HasSubstr("(for its first checkpoint), 488 KiB are free"));
  free_bytes_ = 500'000;
  clock_.Advance(absl::Seconds(10));
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_FALSE(Active("a", "DiskLow"));
}

TEST_F(ReconcilerQueueTest, EtagChangesWithTheDesiredStateOnly) {
  const std::string name = Submit("a");
  const std::string first = Get("a").etag();
  ASSERT_TRUE(Until("a", Job::STARTING));
  Spool("a", {"stage {stage: 'Train'}", Step(1), Step(2)});
  ASSERT_TRUE(Until("a", Job::RUNNING));
  Checkpoint("a", 2);
  Rounds(5);
  EXPECT_EQ(Get("a").etag(), first);
  v1::PauseRequest pause = Pause("a");
  pause.set_etag(first);
  ASSERT_OK(jobs_->Pause(pause, "t").status());
  const std::string second = Get("a").etag();
  EXPECT_NE(second, first);
  executor_.WorkerEnds(name, v1::Attempt::PAUSED_OK, 2);
  ASSERT_TRUE(Until("a", Job::PAUSED));
  EXPECT_EQ(Get("a").etag(), second);
  v1::ResumeRequest resume = Resume("a");
  resume.set_etag(first);
  EXPECT_TRUE(absl::IsAborted(jobs_->Resume(resume, "t").status()));
  resume.set_etag(second);
  ASSERT_OK(jobs_->Resume(resume, "t").status());
  EXPECT_NE(Get("a").etag(), second);
  EXPECT_NE(Get("a").etag(), first);
}

}  // namespace
}  // namespace trainerd::server
