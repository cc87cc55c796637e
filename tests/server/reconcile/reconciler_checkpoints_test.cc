// SPDX-License-Identifier: Apache-2.0
// RequestCheckpoint and Resume(from_checkpoint) through the reconciler.
#include <gmock/gmock.h>

#include "tests/server/reconcile/reconciler_fixture.h"

namespace trainerd::server {
namespace {

using ::testing::HasSubstr;

class ReconcilerCheckpointsTest : public ReconcilerTest {
 protected:
  int Delivered() {
    int count = 0;
    for (const FakeExecutor::Sent& sent : executor_.signals)
      count += sent.action == internal::CHECKPOINT;
    return count;
  }
  void Request(const std::string& id, const std::string& rest = "") {
    Command(jobs_->RequestCheckpoint(
        FromText<v1::RequestCheckpointRequest>("name: 'jobs/" + id + "' " + rest), "t"));
  }
  v1::Checkpoint Find(const std::string& name) {
    auto row = store_->Read(
        [&](Connection& db) { return FindCheckpoint(db, JobId(name), CheckpointId(name)); });
    EXPECT_TRUE(row.ok() && row->has_value()) << name;
    return (*row)->checkpoint;
  }
  v1::ResumeRequest From(const std::string& id, const std::string& checkpoint) {
    v1::ResumeRequest request = Resume(id);
    request.set_from_checkpoint(checkpoint);
    return request;
  }
  // A paused job with checkpoints of the steps 10, 20 and 30.
  std::vector<std::string> Paused(const std::string& id) {
    const std::string name = StartRunning(id, "checkpoint: {keep_last: 9}");
    std::vector<std::string> checkpoints;
    for (int64_t step : {10, 20, 30}) {
      Spool(id, {Step(step)});
      checkpoints.push_back(Checkpoint(id, step, checkpoints.empty() ? "" : checkpoints.back()));
    }
    Command(jobs_->Pause(Pause(id), "t"));
    executor_.WorkerEnds(name, v1::Attempt::PAUSED_OK, 30);
    EXPECT_TRUE(Until(id, Job::PAUSED));
    return checkpoints;
  }
};

TEST_F(ReconcilerCheckpointsTest, DeliversARequestOnceAndTheNextOneAgain) {
  StartRunning("a");
  Spool("a", {Step(5)});
  Rounds(2);
  Request("a", "labels {key: 'k' value: '1'}");
  Rounds(60);
  EXPECT_EQ(Delivered(), 1) << "however long the step takes";
  Request("a", "labels {key: 'l' value: '2'}");
  Rounds(10);
  EXPECT_EQ(Delivered(), 1) << "pending together";
  const std::string name = Checkpoint("a", 6);
  Rounds(2);
  EXPECT_FALSE(Get("a").checkpoint_pending());
  EXPECT_EQ(Find(name).labels().size(), 2u);
  Request("a");
  Rounds(3);
  EXPECT_EQ(Delivered(), 2);
  EXPECT_EQ(Get("a").state(), Job::RUNNING);
}

TEST_F(ReconcilerCheckpointsTest, ARequestSurvivesACrashOfTheDaemonAndOfTheWorker) {
  const std::string name = StartRunning("a");
  Checkpoint("a", 5);
  Spool("a", {Step(7)});
  Rounds(2);
  Request("a", "pin: true");
  Crash();
  Start();
  Rounds(5);
  EXPECT_EQ(Delivered(), 1);
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_TRUE(Get("a").checkpoint_pending());
  EXPECT_FALSE(Find("jobs/a/checkpoints/step-00000005-a1").pinned()) << "it is older";
  ASSERT_TRUE(Until("a", Job::STARTING, 600));
  Spool("a", {"stage {stage: 'Train'}"});
  ASSERT_TRUE(Until("a", Job::RUNNING));
  Rounds(5);
  EXPECT_EQ(Delivered(), 2) << "to the new attempt";
  const std::string next = Checkpoint("a", 6, "jobs/a/checkpoints/step-00000005-a1");
  Rounds(2);
  EXPECT_FALSE(Get("a").checkpoint_pending());
  EXPECT_TRUE(Find(next).pinned());
}

TEST_F(ReconcilerCheckpointsTest, APauseFulfillsItWithItsOwnCheckpoint) {
  const std::string name = StartRunning("a");
  Spool("a", {Step(5)});
  const std::string saved = Checkpoint("a", 5);
  Rounds(2);
  Request("a", "labels {key: 'k' value: 'v'}");
  Command(jobs_->Pause(Pause("a"), "t"));
  // The worker has saved this step already and publishes nothing more.
  executor_.WorkerEnds(name, v1::Attempt::PAUSED_OK, 5);
  ASSERT_TRUE(Until("a", Job::PAUSED));
  EXPECT_FALSE(Get("a").checkpoint_pending());
  EXPECT_EQ(Find(saved).labels().at("k"), "v");
  EXPECT_EQ(Find(saved).etag(), "2");
}

TEST_F(ReconcilerCheckpointsTest, ADiscardDropsIt) {
  const std::string name = StartRunning("a");
  Request("a");
  Command(jobs_->Stop(Stop("a", "DISCARD"), "t"));
  EXPECT_FALSE(Get("a").checkpoint_pending());
  executor_.WorkerEnds(name, v1::Attempt::DISCARDED);
  ASSERT_TRUE(Until("a", Job::CANCELLED));
}

TEST_F(ReconcilerCheckpointsTest, ResumesFromTheNamedCheckpoint) {
  const std::vector<std::string> checkpoints = Paused("a");
  Command(jobs_->Resume(From("a", checkpoints[0]), "t"));
  EXPECT_FALSE(Find(checkpoints[1]).superseded()) << "only when the attempt starts";
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(executor_.launches.back().resume_name(), checkpoints[0]);
  EXPECT_FALSE(Find(checkpoints[0]).superseded());
  EXPECT_TRUE(Find(checkpoints[1]).superseded());
  EXPECT_TRUE(Find(checkpoints[2]).superseded());
  EXPECT_EQ(Get("a").latest_checkpoint(), checkpoints[0]);
  EXPECT_EQ(Get("a").progress().step(), 10);
  EXPECT_EQ(Load(*store_, "a").ledger.resume_from(), "");
  // Progress from there refills the failure budget.
  EXPECT_EQ(Load(*store_, "a").ledger.best_verified_step(), 10);
  // A crash before the next checkpoint starts there again.
  executor_.WorkerCrashes("jobs/a");
  ASSERT_TRUE(Until("a", Job::QUEUED));
  ASSERT_TRUE(Until("a", Job::STARTING, 600));
  EXPECT_EQ(executor_.launches.back().resume_name(), checkpoints[0]);
}

TEST_F(ReconcilerCheckpointsTest, ReturnsToASupersededCheckpoint) {
  const std::vector<std::string> checkpoints = Paused("a");
  Command(jobs_->Resume(From("a", checkpoints[0]), "t"));
  ASSERT_TRUE(Until("a", Job::STARTING));
  Command(jobs_->Pause(Pause("a"), "t"));
  executor_.WorkerEnds("jobs/a", v1::Attempt::PAUSED_OK);
  ASSERT_TRUE(Until("a", Job::PAUSED));
  Command(jobs_->Resume(From("a", checkpoints[2]), "t"));
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(executor_.launches.back().resume_name(), checkpoints[2]);
  for (const std::string& name : checkpoints) EXPECT_FALSE(Find(name).superseded()) << name;
}

TEST_F(ReconcilerCheckpointsTest, RetentionKeepsTheNamedCheckpointUntilTheAttemptStarts) {
  const std::vector<std::string> checkpoints = Paused("a");
  Command(jobs_->Resume(From("a", checkpoints[0]), "t"));
  JobRecord record = Load(*store_, "a");
  record.job.mutable_config()->mutable_checkpoint()->set_keep_last(1);
  ASSERT_OK(store_->Change([&](Transaction& t) { return StoreJob(t.db(), &record); }));
  housekeeping_->Retain("a");
  WaitForDisk();
  EXPECT_FALSE(Find(checkpoints[0]).deleted());
  EXPECT_TRUE(Find(checkpoints[1]).deleted());
}

TEST_F(ReconcilerCheckpointsTest, HoldsTheJobIfTheNamedCheckpointIsDamaged) {
  const std::vector<std::string> checkpoints = Paused("a");
  Command(jobs_->Resume(From("a", checkpoints[1]), "t"));
  std::filesystem::remove_all(Find(checkpoints[1]).path());
  Rounds(3);
  EXPECT_EQ(Get("a").state(), Job::QUEUED);
  EXPECT_EQ(Get("a").wait_reason(), Job::HELD);
  EXPECT_EQ(Notices("CHECKPOINT_DAMAGED"), 1);
  EXPECT_FALSE(Find(checkpoints[1]).verified());
  EXPECT_EQ(executor_.launches.size(), 1u) << "it does not resume from what the user left behind";
  EXPECT_THAT(Reason(), HasSubstr("is damaged"));
  Command(jobs_->Resume(Resume("a"), "t"));
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(executor_.launches.back().resume_name(), checkpoints[2]);
}

TEST_F(ReconcilerCheckpointsTest, AResumeWithoutANameTakesTheNewestAgain) {
  const std::vector<std::string> checkpoints = Paused("a");
  devices_->Hold({"cpu"}, "jobs/other");
  Command(jobs_->Resume(From("a", checkpoints[0]), "t"));
  Rounds(2);
  Command(jobs_->Resume(Resume("a"), "t"));
  devices_->Release("jobs/other");
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(executor_.launches.back().resume_name(), checkpoints[2]);
}

TEST_F(ReconcilerCheckpointsTest, TheWorkerLearnsTheBestValue) {
  const std::string name = StartRunning("a");
  JobRecord record = Load(*store_, "a");
  v1::BestConfig& best = *record.job.mutable_config()->mutable_evaluation()->mutable_best();
  best.set_metric("eval.validation.loss");
  best.set_mode(v1::BestConfig::MODE_MIN);
  ASSERT_OK(store_->Change([&](Transaction& t) { return StoreJob(t.db(), &record); }));
  EXPECT_FALSE(executor_.launches.back().has_best_value());
  Spool("a", {Step(5), "eval {step: 5 set: 'validation' loss: 0.25}"});
  Checkpoint("a", 5);
  Rounds(2);
  EXPECT_EQ(Get("a").best_checkpoint(), "jobs/a/checkpoints/step-00000005-a1");
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("a", Job::QUEUED));
  ASSERT_TRUE(Until("a", Job::STARTING, 600));
  EXPECT_EQ(executor_.launches.back().best_value(), 0.25);
}

}  // namespace
}  // namespace trainerd::server
