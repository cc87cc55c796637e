// SPDX-License-Identifier: Apache-2.0
// Start, restart and housekeeping of the reconciler: T4, T8.
#include "server/reconcile/reconciler.h"

#include <fstream>

#include "tests/server/reconcile/reconciler_fixture.h"

namespace trainerd::server {
namespace {

// T4, T8
TEST_F(ReconcilerTest, ReattachesTheLiveAttemptAfterARestart) {
  const std::string name = StartRunning("a");
  Spool("a", {Step(1)});
  Rounds(2);
  Crash();
  const std::string attempt_dir = AttemptDir(RunDir("a"), 1);
  auto writer = SpoolWriter::Open(attempt_dir, 1 << 20);
  ASSERT_OK((*writer)->Append(FromText<v1::Event>(Step(2)), false));
  ASSERT_OK((*writer)->Sync());
  Start();
  Rounds(3);
  EXPECT_EQ(executor_.launches.size(), 1u);
  EXPECT_EQ(DeviceHolder(), name);
  EXPECT_EQ(Get("a").progress().step(), 2);
  EXPECT_EQ(Get("a").state(), Job::RUNNING);
  EXPECT_EQ(Load(*store_, "a").ledger.failures_without_progress(), 0);
}

TEST_F(ReconcilerTest, ClosesAnAttemptThatEndedDuringDowntimeBeforeItServes) {
  const std::string name = StartRunning("a");
  Crash();
  WriteFolder(RunDir("a") + "/final", "a", 1, 1, "", "final");
  executor_.WorkerEnds(name, v1::Attempt::COMPLETED, 1);
  Start();
  EXPECT_EQ(Get("a").state(), Job::SUCCEEDED);
}

TEST_F(ReconcilerTest, KeepsTheBudgetAfterAReboot) {
  const std::string name = StartRunning("a");
  const std::string checkpoint = Checkpoint("a", 2);
  Rounds(2);
  Crash();
  Observation& o = executor_.Newest(name);
  o.kind = Kind::kGone;
  o.info.emplace().mutable_shim()->set_boot_id("the boot before");
  Start();
  EXPECT_EQ(Get("a").state(), Job::QUEUED);
  EXPECT_EQ(Get("a").error().code(), "MACHINE_RESTARTED");
  EXPECT_EQ(Load(*store_, "a").ledger.failures_without_progress(), 0);
  EXPECT_EQ(Get("a").latest_checkpoint(), checkpoint);
}

TEST_F(ReconcilerTest, LaunchesTheSameAttemptAfterACrashBeforeTheSpawn) {
  executor_.launch_status = absl::UnavailableError("no spawn");
  Submit("a");
  ASSERT_TRUE(Until("a", Job::STARTING));
  Crash();
  executor_.launch_status = absl::OkStatus();
  Start();
  Rounds(2);
  EXPECT_EQ(Get("a").state(), Job::STARTING);
  EXPECT_EQ(Get("a").attempt(), 1);
  EXPECT_EQ(executor_.launches.back().attempt(), 1);
}

TEST_F(ReconcilerTest, CountsNoFailureForAnAttemptThatCannotBeLaunched) {
  executor_.launch_status = absl::ResourceExhaustedError("no space");
  Submit("a");
  ASSERT_TRUE(Until("a", Job::STARTING));
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").wait_reason(), Job::BACKOFF);
  EXPECT_EQ(Load(*store_, "a").ledger.failures_without_progress(), 0);
}

TEST_F(ReconcilerTest, KillsOrphans) {
  Crash();
  executor_.owned = {{.job = "jobs/stranger", .attempt = 4, .run_dir = RunDir("stranger")}};
  Start();
  ASSERT_EQ(executor_.signals.size(), 1u);
  EXPECT_EQ(executor_.signals[0].job, "jobs/stranger");
  EXPECT_EQ(executor_.signals[0].action, internal::KILL);
}

TEST_F(ReconcilerTest, KeepsTheLastCheckpointsOnceANewerOneIsVerified) {
  StartRunning("a", "checkpoint: {keep_last: 2, every_steps: 1}");
  std::string parent;
  for (int step = 1; step <= 4; ++step) {
    parent = Checkpoint("a", step, parent);
    Rounds(2);
  }
  EXPECT_EQ(CheckpointEvents(v1::CheckpointEvent::DELETED).size(), 2u);
  EXPECT_FALSE(std::filesystem::exists(RunDir("a") + "/checkpoints/step-00000002-a1"));
  EXPECT_TRUE(std::filesystem::exists(RunDir("a") + "/checkpoints/step-00000003-a1"));
  EXPECT_TRUE(std::filesystem::exists(RunDir("a") + "/checkpoints/step-00000004-a1"));
}

TEST_F(ReconcilerTest, ReportsALowDisk) {
  StartRunning("a");
  Checkpoint("a", 2);
  free_bytes_ = 150;  // below twice the checkpoint's 100 bytes
  Rounds(60);
  EXPECT_TRUE(Active("a", "DiskLow"));
  free_bytes_ = 250;
  Rounds(60);
  EXPECT_TRUE(Active("a", "DiskLow")) << "cleared only above three times";
  free_bytes_ = 350;
  Rounds(60);
  EXPECT_FALSE(Active("a", "DiskLow"));
}

TEST_F(ReconcilerTest, FinishesADeletionThatWasInterrupted) {
  const std::string name = StartRunning("a");
  Command(jobs_->Stop(Stop("a", "DISCARD"), "t"));
  executor_.WorkerEnds(name, v1::Attempt::DISCARDED);
  ASSERT_TRUE(Until("a", Job::CANCELLED));
  // The job is marked `deleting`, and nothing was deleted yet.
  JobRecord record = Load(*store_, "a");
  ASSERT_OK(store_->Change([&](Transaction& t) {
    record.job.set_deleting(true);
    return StoreJob(t.db(), &record);
  }));
  Crash();
  Start();
  WaitForDisk();
  EXPECT_FALSE(std::filesystem::exists(RunDir("a")));
  absl::Status read = store_->Read([&](Connection& db) { return LoadJob(db, "a").status(); });
  EXPECT_TRUE(absl::IsNotFound(read));
  EXPECT_EQ(recorder_.Events().back().notice().code(), "JOB_DELETED");
}

TEST_F(ReconcilerTest, RepeatsADeletionAndARetentionThatCouldNotBeStored) {
  StartRunning("b", "checkpoint: {keep_last: 1, every_steps: 1}");
  const std::string first = Checkpoint("b", 1);
  Rounds(2);
  AddJob(*store_, "a", RunDir("a"));
  Command(jobs_->Stop(Stop("a"), "t"));
  Sql("CREATE TRIGGER full BEFORE DELETE ON jobs BEGIN SELECT RAISE(ABORT, 'no space'); END");
  Sql("CREATE TRIGGER full2 BEFORE INSERT ON checkpoints WHEN NEW.deleted = 1 "
      "BEGIN SELECT RAISE(ABORT, 'no space'); END");
  Command(jobs_->Delete(FromText<v1::DeleteJobRequest>("name: 'jobs/a'"), "t"));
  Checkpoint("b", 2, first);
  Rounds(60);
  EXPECT_TRUE(Get("a").deleting());
  EXPECT_TRUE(CheckpointEvents(v1::CheckpointEvent::DELETED).empty());
  Sql("DROP TRIGGER full");
  Sql("DROP TRIGGER full2");
  Rounds(60);
  absl::Status read = store_->Read([&](Connection& db) { return LoadJob(db, "a").status(); });
  EXPECT_TRUE(absl::IsNotFound(read)) << read;
  EXPECT_EQ(CheckpointEvents(v1::CheckpointEvent::DELETED).size(), 1u);
}

}  // namespace
}  // namespace trainerd::server
