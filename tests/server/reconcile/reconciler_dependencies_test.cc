// SPDX-License-Identifier: Apache-2.0
// depends_on: every condition against every way in which the other job can end, crashes in between,
// chains, and the checkpoint of another job as a start.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/store/rows/dependency_rows.h"
#include "tests/server/reconcile/reconciler_fixture.h"

namespace trainerd::server {
namespace {

class ReconcilerDependenciesTest : public ReconcilerTest {
 protected:
  static std::string On(const std::string& id, const std::string& condition = "succeeded") {
    return absl::StrCat("depends_on: [{job: jobs/", id, ", condition: ", condition, "}]\n");
  }
  // One that nobody starts.
  void Hold(const std::string& id) { Submit(id, "suspended: true"); }
  void Cancel(const std::string& id) { Command(jobs_->Stop(Stop(id, "DISCARD"), "t")); }
  void Succeed(const std::string& id, int64_t step = 4) {
    WriteFolder(RunDir(id) + "/final", id, step, Get(id).attempt(), "", "final");
    executor_.WorkerEnds("jobs/" + id, v1::Attempt::COMPLETED, step);
    ASSERT_TRUE(Until(id, Job::SUCCEEDED));
  }
  void Restart() {
    Crash();
    Start();
  }
  // Rows of both tables.
  int64_t Rows() {
    int64_t count = -1;
    EXPECT_OK(store_->Read([&](Connection& db) {
      Query query(db,
                  "SELECT (SELECT count(*) FROM dependencies) + (SELECT count(*) FROM "
                  "dependency_news)");
      if (query.Step()) count = query.Int(0);
      return query.status();
    }));
    return count;
  }
};

TEST_F(ReconcilerDependenciesTest, JobStartsOnceTheOtherHasSucceeded) {
  StartRunning("a");
  Submit("b", On("a"));
  EXPECT_EQ(Get("b").wait_reason(), Job::DEPENDENCY);
  Rounds(10);
  EXPECT_EQ(Get("b").wait_reason(), Job::DEPENDENCY);
  Succeed("a");
  ASSERT_TRUE(Until("b", Job::STARTING, 3));
  EXPECT_EQ(Rows(), 0);
}

TEST_F(ReconcilerDependenciesTest, ConditionThatHoldsAlreadyIsNoWait) {
  StartRunning("a");
  Succeed("a");
  Submit("b", On("a"));
  EXPECT_EQ(Get("b").wait_reason(), Job::RESOURCES);
  EXPECT_EQ(Rows(), 0);
}

TEST_F(ReconcilerDependenciesTest, JobThatCanNoLongerStartFailsAndNamesTheOther) {
  Hold("a");
  Submit("b", On("a"));
  Cancel("a");
  ASSERT_TRUE(Until("b", Job::FAILED, 3));
  const v1::JobError error = Get("b").error();
  EXPECT_EQ(error.cause(), v1::JobError::DEPENDENCY);
  EXPECT_EQ(error.code(), "DEPENDENCY_FAILED");
  EXPECT_TRUE(absl::StrContains(error.message(), "jobs/a is CANCELLED")) << error.message();
  EXPECT_EQ(Get("b").attempt(), 0);
  EXPECT_EQ(Rows(), 0);
}

TEST_F(ReconcilerDependenciesTest, MessageHasTheErrorOfTheOther) {
  StartRunning("a", "retry: {max_failures_without_progress: 0}");
  Submit("b", On("a"));
  executor_.WorkerFails("jobs/a", "DATA_BAD_ROW", /*retryable=*/false);
  ASSERT_TRUE(Until("b", Job::FAILED));
  EXPECT_TRUE(absl::StrContains(Get("b").error().message(), "jobs/a is FAILED ("))
      << Get("b").error().message();
}

// The other one ended before the submit: the answer is the same as for one that ends after it.
TEST_F(ReconcilerDependenciesTest, JobWhoseConditionIsImpossibleFromTheStartFails) {
  Hold("a");
  Cancel("a");
  Submit("b", On("a"));
  EXPECT_EQ(Get("b").wait_reason(), Job::DEPENDENCY);
  ASSERT_TRUE(Until("b", Job::FAILED, 3));
  Submit("c", On("a", "checkpoint"));
  ASSERT_TRUE(Until("c", Job::FAILED, 3));
  EXPECT_TRUE(absl::StrContains(Get("c").error().message(), "without a verified checkpoint"));
  Submit("d", On("a", "ended"));
  EXPECT_EQ(Get("d").wait_reason(), Job::RESOURCES);
}

TEST_F(ReconcilerDependenciesTest, EndedIsAnyEnd) {
  Hold("a");
  Submit("b", On("a", "ended"));
  Rounds(3);
  EXPECT_EQ(Get("b").wait_reason(), Job::DEPENDENCY);
  Cancel("a");
  EXPECT_TRUE(Until("b", Job::STARTING, 3));
}

TEST_F(ReconcilerDependenciesTest, CheckpointIsTheFirstVerifiedOne) {
  StartRunning("a");
  Submit("b", On("a", "checkpoint"));
  Submit("c", On("a"));
  Spool("a", {Step(1), Step(2)});
  Rounds(5);
  EXPECT_EQ(Get("b").wait_reason(), Job::DEPENDENCY);
  Checkpoint("a", 2);
  Rounds(2);
  EXPECT_EQ(Get("b").wait_reason(), Job::RESOURCES);
  EXPECT_EQ(Get("c").wait_reason(), Job::DEPENDENCY);
  EXPECT_EQ(Rows(), 1);
}

TEST_F(ReconcilerDependenciesTest, AllConditionsMustHold) {
  Hold("a");
  Hold("b");
  Submit("c",
         "depends_on: [{job: jobs/a, condition: ended}, {job: jobs/b, condition: ended}, {job: "
         "jobs/a, condition: ended}]");
  Cancel("a");
  Rounds(5);
  EXPECT_EQ(Get("c").wait_reason(), Job::DEPENDENCY);
  EXPECT_EQ(Load(*store_, "c").ledger.pending_dependencies_size(), 1);
  Restart();
  Cancel("b");
  EXPECT_TRUE(Until("c", Job::STARTING, 3));
}

// The daemon dies after the commit of what the other job waits for, and before it acts on it.
TEST_F(ReconcilerDependenciesTest, WakesWhoWaitsAfterACrash) {
  Hold("a");
  StartRunning("r");
  Submit("fails", On("a"));
  Submit("starts", On("a", "ended"));
  Submit("checkpoint", On("r", "checkpoint"));
  Cancel("a");
  Checkpoint("r", 2);
  ingester_->PassOnce();
  Restart();
  Rounds(1);
  EXPECT_EQ(Get("fails").state(), Job::FAILED);
  EXPECT_EQ(Get("starts").wait_reason(), Job::RESOURCES);
  EXPECT_EQ(Get("checkpoint").wait_reason(), Job::RESOURCES);
  EXPECT_EQ(Rows(), 0);
}

TEST_F(ReconcilerDependenciesTest, ChainOfAFailedJobEndsInOneRound) {
  Hold("j0");
  constexpr int kJobs = 40;
  for (int i = 1; i < kJobs; ++i) Submit(absl::StrCat("j", i), On(absl::StrCat("j", i - 1)));
  Cancel("j0");
  Rounds(4);
  for (int i = 1; i < kJobs; ++i) {
    ASSERT_EQ(Get(absl::StrCat("j", i)).state(), Job::FAILED) << i;
    EXPECT_EQ(Get(absl::StrCat("j", i)).error().cause(), v1::JobError::DEPENDENCY);
  }
  EXPECT_EQ(Rows(), 0);
}

TEST_F(ReconcilerDependenciesTest, ManyDependentsOfOneJobAreAllWoken) {
  missing_ = "worker";
  Hold("a");
  constexpr int kJobs = 150;
  for (int i = 0; i < kJobs; ++i)
    Submit(absl::StrCat("j", i), On("a", i % 2 == 0 ? "succeeded" : "ended"));
  Cancel("a");
  Round();
  for (int i = 0; i < kJobs; ++i) {
    const Job job = Get(absl::StrCat("j", i));
    EXPECT_NE(job.wait_reason(), Job::DEPENDENCY) << i;
    EXPECT_EQ(job.state(), i % 2 == 0 ? Job::FAILED : Job::QUEUED) << i;
  }
  EXPECT_EQ(Rows(), 0);
}

TEST_F(ReconcilerDependenciesTest, HeldJobKeepsWaitingAndFailsToo) {
  Hold("a");
  Submit("b", On("a") + "suspended: true");
  Submit("c", On("a", "ended") + "suspended: true");
  EXPECT_EQ(Get("b").wait_reason(), Job::HELD);
  Command(jobs_->Resume(Resume("b"), "t"));
  EXPECT_EQ(Get("b").wait_reason(), Job::DEPENDENCY);
  Command(jobs_->Pause(Pause("b"), "t"));
  EXPECT_EQ(Get("b").wait_reason(), Job::HELD);
  Cancel("a");
  Rounds(2);
  EXPECT_EQ(Get("b").state(), Job::FAILED);
  EXPECT_EQ(Get("c").wait_reason(), Job::HELD);
  Command(jobs_->Resume(Resume("c"), "t"));
  EXPECT_TRUE(Until("c", Job::STARTING));
}

TEST_F(ReconcilerDependenciesTest, TimeIsWaitedForAfterTheOtherJobs) {
  Hold("a");
  Submit("b", On("a", "ended") + absl::FormatTime("not_before: %Y-%m-%dT%H:%M:%SZ",
                                                  SystemClock()() + absl::Seconds(60),
                                                  absl::UTCTimeZone()));
  EXPECT_EQ(Get("b").wait_reason(), Job::DEPENDENCY);
  Cancel("a");
  Rounds(2);
  EXPECT_EQ(Get("b").wait_reason(), Job::NOT_BEFORE);
  clock_.Advance(absl::Seconds(61));
  EXPECT_TRUE(Until("b", Job::STARTING));
}

TEST_F(ReconcilerDependenciesTest, StoppedJobWaitsForNothing) {
  Hold("a");
  Submit("b", On("a"));
  Cancel("b");
  EXPECT_EQ(Rows(), 0);
  Cancel("a");
  Rounds(2);
  EXPECT_EQ(Get("b").state(), Job::CANCELLED);
}

TEST_F(ReconcilerDependenciesTest, JobThatAnotherWaitsForCannotBeDeleted) {
  Hold("a");
  Submit("b", On("a", "ended") + "suspended: true");
  Cancel("a");
  const auto remove = [&] {
    return jobs_->Delete(FromText<v1::DeleteJobRequest>("name: 'jobs/a'"), "t").status();
  };
  const absl::Status refused = remove();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_TRUE(absl::StrContains(refused.message(), "jobs/b waits for jobs/a")) << refused;
  Rounds(2);
  EXPECT_OK(remove());
}

TEST_F(ReconcilerDependenciesTest, CheckpointThatWasFoundDamagedWakesNobody) {
  StartRunning("a");
  Submit("b", On("a", "checkpoint"));
  Checkpoint("a", 2);
  ingester_->PassOnce();
  JobRecord record = Load(*store_, "a");
  ASSERT_OK(store_->Change([&](Transaction& t) {
    record.job.clear_latest_checkpoint();
    return StoreJob(t.db(), &record);
  }));
  Rounds(3);
  EXPECT_EQ(Get("b").wait_reason(), Job::DEPENDENCY);
  EXPECT_EQ(Rows(), 1);
}

class StartFromDependencyTest : public ReconcilerDependenciesTest {
 protected:
  static std::string From(const std::string& id, const std::string& condition) {
    return absl::StrCat(On(id, condition), "init_from: {checkpoint: jobs/", id, "}\n");
  }
};

TEST_F(StartFromDependencyTest, CheckpointIsFoundAtTheFirstStart) {
  StartRunning("a");
  Submit("b", From("a", "succeeded"));
  EXPECT_EQ(Get("b").base(), "");
  const std::string first = Checkpoint("a", 2);
  Rounds(2);
  const std::string second = Checkpoint("a", 4, first);
  Rounds(2);
  EXPECT_EQ(Get("b").base(), "");
  Succeed("a");
  ASSERT_TRUE(Until("b", Job::STARTING));
  EXPECT_EQ(Get("b").base(), second);
  EXPECT_EQ(Get("b").progress().step(), 4);
  EXPECT_TRUE(absl::StrContains(executor_.launches.back().init_path(), "step-00000004-a1"));
  EXPECT_EQ(executor_.launches.back().resume_name(), "");
}

TEST_F(StartFromDependencyTest, StartIsFoundOnce) {
  StartRunning("a");
  const std::string first = Checkpoint("a", 2);
  Rounds(2);
  Submit("b", From("a", "ended"));
  Succeed("a");
  ASSERT_TRUE(Until("b", Job::STARTING));
  executor_.WorkerCrashes("jobs/b");
  ASSERT_TRUE(Until("b", Job::QUEUED));
  Restart();
  clock_.Advance(absl::Minutes(6));
  ASSERT_TRUE(Until("b", Job::STARTING));
  EXPECT_EQ(Get("b").base(), first);
}

TEST_F(StartFromDependencyTest, JobWithoutACheckpointToStartFromFails) {
  Hold("a");
  Submit("b", From("a", "ended"));
  Cancel("a");
  ASSERT_TRUE(Until("b", Job::FAILED));
  EXPECT_EQ(Get("b").error().cause(), v1::JobError::DEPENDENCY);
  EXPECT_TRUE(absl::StrContains(Get("b").error().message(), "jobs/a has no verified checkpoint"))
      << Get("b").error().message();
}

// The condition holds, and no device is free: the other job is needed all the same.
TEST_F(StartFromDependencyTest, OtherJobIsKeptUntilTheStart) {
  StartRunning("a");
  const std::string first = Checkpoint("a", 2);
  Rounds(2);
  Submit("b", From("a", "checkpoint") + "suspended: true");
  Succeed("a");
  Rounds(2);
  EXPECT_EQ(Rows(), 0);
  const absl::Status refused =
      jobs_->Delete(FromText<v1::DeleteJobRequest>("name: 'jobs/a'"), "t").status();
  EXPECT_TRUE(absl::StrContains(refused.message(), "jobs/b starts from a checkpoint of jobs/a"))
      << refused;
}

TEST_F(StartFromDependencyTest, MissingFolderIsNoStart) {
  StartRunning("a");
  Checkpoint("a", 2);
  Rounds(2);
  Submit("b", From("a", "succeeded") + "suspended: true");
  Succeed("a");
  const std::string folder = RunDir("a") + "/checkpoints/step-00000002-a1";
  std::filesystem::remove_all(folder);
  Command(jobs_->Resume(Resume("b"), "t"));
  ASSERT_TRUE(Until("b", Job::FAILED)) << "a checkpoint that is missing is no start";
  EXPECT_EQ(Get("b").error().cause(), v1::JobError::DEPENDENCY);
}

}  // namespace
}  // namespace trainerd::server
