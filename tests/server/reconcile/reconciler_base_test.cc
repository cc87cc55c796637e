// SPDX-License-Identifier: Apache-2.0
// The first attempt of a job that starts from a checkpoint of another one.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/server/reconcile/reconciler_fixture.h"

namespace trainerd::server {
namespace {

// A job that starts from another job's checkpoint starts at its step, not at 0.
class JobFromAnotherTest : public ReconcilerTest {
 protected:
  // Stops a job after 30 steps and submits another one that starts from it; returns its name.
  std::string SubmitFrom(v1::InitFromConfig::State state) {
    const std::string base = StartRunning("a");
    Spool("a", {"metrics {step: 30 loss: 1 tokens: 300}"});
    Checkpoint("a", 30);
    Command(jobs_->Stop(Stop("a"), "t"));
    executor_.WorkerEnds(base, v1::Attempt::STOPPED_OK, 30);
    EXPECT_TRUE(Until("a", Job::STOPPED));
    v1::SubmitJobRequest request;
    request.set_job_id("b");
    request.set_base("jobs/a");
    request.mutable_config()->mutable_checkpoint()->set_every_steps(5);
    request.mutable_config()->mutable_init_from()->set_state(state);
    auto response = jobs_->Submit(request, "t");
    EXPECT_TRUE(response.ok()) << response.status();
    return "jobs/b";
  }
};

TEST_F(JobFromAnotherTest, StartsAtItsBaseWhenNoStepIsLeft) {
  const std::string name = SubmitFrom(v1::InitFromConfig::STATE_FULL);
  EXPECT_EQ(Get("b").progress().step(), 30) << "before it starts";
  EXPECT_EQ(Get("b").progress().tokens(), 300);
  ASSERT_TRUE(Until("b", Job::STARTING));
  EXPECT_EQ(Get("b").progress().step(), 30);
  WriteFolder(RunDir("b") + "/final", "b", 30, 1, "", "final");
  executor_.WorkerEnds(name, v1::Attempt::COMPLETED);
  ASSERT_TRUE(Until("b", Job::SUCCEEDED)) << Get("b").error().code();
  EXPECT_EQ(Get("b").progress().step(), 30);
  EXPECT_EQ(Get("b").progress().tokens(), 300);
}

TEST_F(JobFromAnotherTest, CountsStepsFromItsBase) {
  const std::string name = SubmitFrom(v1::InitFromConfig::STATE_FULL);
  ASSERT_TRUE(Until("b", Job::STARTING));
  Spool("b", {"stage {stage: 'Train'}", Step(31), Step(32)});
  Rounds(2);
  EXPECT_EQ(Get("b").progress().tokens(), 320);
  EXPECT_FALSE(Active("b", "CheckpointStale")) << "two steps since its base";
  executor_.WorkerCrashes(name);
  ASSERT_TRUE(Until("b", Job::QUEUED));
  EXPECT_TRUE(absl::StrContains(Reason(), "; 2 steps are lost")) << Reason();
  clock_.Advance(absl::Minutes(6));
  ASSERT_TRUE(Until("b", Job::STARTING));
  EXPECT_EQ(Get("b").progress().step(), 30);
  EXPECT_EQ(Get("b").progress().tokens(), 300);
}

TEST_F(JobFromAnotherTest, StartsAtZeroFromWeightsAlone) {
  SubmitFrom(v1::InitFromConfig::STATE_WEIGHTS);
  EXPECT_EQ(Get("b").progress().step(), 0);
  ASSERT_TRUE(Until("b", Job::STARTING));
  EXPECT_EQ(Get("b").progress().step(), 0);
  EXPECT_EQ(Get("b").progress().tokens(), 0);
}

}  // namespace
}  // namespace trainerd::server
