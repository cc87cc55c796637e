// SPDX-License-Identifier: Apache-2.0
// Remote evaluation in the life of a job: triggers in the transaction of a checkpoint, a job that
// awaits its final model's evaluation, deadlines, and the daemon's death at each point.
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "server/commands/evaluations.h"
#include "server/ledger/evaluations/evaluations.h"
#include "tests/server/reconcile/reconciler_fixture.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;
using Evaluation = v1::Evaluation;

constexpr char kRequired[] =
    "evaluation: {remote: [{name: q, suite: s, required: true, deadline: 10m}]}\n";

class ReconcilerEvaluationsTest : public ReconcilerTest {
 protected:
  std::vector<std::string> EvaluationEvents() {
    std::vector<std::string> events;
    for (const v1::Event& event : recorder_.Events()) {
      if (!event.has_remote_eval()) continue;
      const Evaluation& evaluation = event.remote_eval().evaluation();
      events.push_back(absl::StrCat(Evaluation::State_Name(evaluation.state()), " ",
                                    EvaluationId(evaluation.name())));
    }
    return events;
  }
  // The worker has trained to its end and written final/.
  void Complete(const std::string& id, int64_t steps) {
    Spool(id, {Step(steps), "stage {stage: 'SaveFinal'}"});
    WriteFolder(RunDir(id) + "/final", id, steps, Get(id).attempt(), "", "final");
    executor_.WorkerEnds("jobs/" + id, v1::Attempt::COMPLETED, steps);
  }
  void AwaitFinal(const std::string& id, const std::string& yaml = kRequired) {
    StartRunning(id, yaml);
    Complete(id, 30);
    for (int i = 0; i < 60 && !Active(id, "AwaitingEvaluation"); ++i) Rounds(1);
    ASSERT_TRUE(Active(id, "AwaitingEvaluation"));
  }
  void End(const std::string& name) {
    Evaluations evaluations({}, *store_);
    EXPECT_OK(evaluations
                  .Report(FromText<v1::ReportEvaluationRequest>("name: '" + name +
                                                                "' metrics {name: 'acc' value: 1}"),
                          "")
                  .status());
  }
};

TEST_F(ReconcilerEvaluationsTest, TriggersAtStartAtCheckpointsAndAtEnd) {
  StartRunning("a",
               "evaluation: {remote: [{name: q, suite: s, when: {at_start: true, every_steps: "
               "20}}]}\n");
  Spool("a", {Step(1)});
  Checkpoint("a", 10);
  Checkpoint("a", 20);
  Checkpoint("a", 30);
  Rounds(2);
  EXPECT_THAT(EvaluationEvents(), ElementsAre("TRIGGERED q-start", "TRIGGERED q-step-00000020-a1"));
  Complete("a", 40);
  ASSERT_TRUE(Until("a", Job::SUCCEEDED));
  EXPECT_THAT(EvaluationEvents(), ElementsAre("TRIGGERED q-start", "TRIGGERED q-step-00000020-a1",
                                              "TRIGGERED q-final"));
}

TEST_F(ReconcilerEvaluationsTest, ADeathAfterThePublicationNeitherLosesNorRepeats) {
  StartRunning("a", "evaluation: {remote: [{name: q, suite: s, when: {every_steps: 1}}]}\n");
  Checkpoint("a", 10);
  ingester_->PassOnce();
  Crash();
  Start();
  Rounds(3);
  Checkpoint("a", 20);
  Crash();
  Start();
  Rounds(3);
  EXPECT_THAT(EvaluationEvents(),
              ElementsAre("TRIGGERED q-step-00000010-a1", "TRIGGERED q-step-00000020-a1"));
}

TEST_F(ReconcilerEvaluationsTest, ManyCheckpointsAtOnceFitIntoTheirTransactions) {
  std::string entries;
  for (int i = 0; i < 32; ++i)
    absl::StrAppend(&entries, "{name: e", i, ", suite: s, params: {a: '", std::string(900, 'x'),
                    "'}, when: {every_steps: 1}},");
  StartRunning("a", "evaluation: {remote: [" + entries + "]}\n");
  Crash();
  for (int step = 1; step <= 20; ++step) {
    // The daemon does not run: only files.
    const std::string name = absl::StrFormat("step-%08d-a1", step);
    const std::string path = RunDir("a") + "/checkpoints/" + name;
    WriteFolder(path, "a", step, 1, "", "checkpoint");
    auto writer = SpoolWriter::Open(AttemptDir(RunDir("a"), 1), 1 << 20);
    ASSERT_OK(writer.status());
    ASSERT_OK((*writer)->Append(
        FromText<v1::Event>(
            absl::StrCat("checkpoint {kind: PUBLISHED checkpoint {name: 'jobs/a/checkpoints/", name,
                         "' step: ", step, " verified: true size_bytes: 1 path: '", path, "'}}")),
        /*droppable=*/false));
    ASSERT_OK((*writer)->Sync());
  }
  Start();
  for (int i = 0; i < 60 && EvaluationEvents().size() < 20u * 32; ++i) Rounds(1);
  EXPECT_EQ(EvaluationEvents().size(), 20u * 32);
}

TEST_F(ReconcilerEvaluationsTest, RetentionKeepsWhatIsEvaluated) {
  StartRunning("a",
               "checkpoint: {keep_last: 1}\nevaluation: {remote: [{name: q, suite: s, when: "
               "{every_steps: 1}}]}\n");
  const std::string first = Checkpoint("a", 10);
  Rounds(2);
  Checkpoint("a", 20);
  Rounds(2);
  Checkpoint("a", 30);
  Rounds(3);
  EXPECT_TRUE(std::filesystem::exists(RunDir("a") + "/checkpoints/" + CheckpointId(first)));
  End("jobs/a/evaluations/q-" + CheckpointId(first));
  housekeeping_->Retain("a");
  WaitForDisk();
  EXPECT_FALSE(std::filesystem::exists(RunDir("a") + "/checkpoints/" + CheckpointId(first)));
}

TEST_F(ReconcilerEvaluationsTest, AJobAwaitsItsEvaluationWithoutItsDevice) {
  AwaitFinal("a");
  EXPECT_EQ(Get("a").state(), Job::RUNNING);
  EXPECT_EQ(DeviceHolder(), "");
  EXPECT_THAT(Get("a").devices(), ElementsAre());
  StartRunning("b");
  for (int death = 0; death < 3; ++death) {
    Crash();
    Start();
    Rounds(3);
    EXPECT_EQ(Get("a").state(), Job::RUNNING);
    EXPECT_TRUE(Active("a", "AwaitingEvaluation"));
  }
  Command(jobs_->Pause(Pause("a"), ""));
  EXPECT_EQ(Get("a").state(), Job::RUNNING);
  End("jobs/a/evaluations/q-final");
  EXPECT_EQ(Get("a").state(), Job::SUCCEEDED);
  EXPECT_FALSE(Active("a", "AwaitingEvaluation"));
}

TEST_F(ReconcilerEvaluationsTest, TheDeadlineEndsTheWaitWhateverTheSystemClockDoes) {
  AwaitFinal("a");
  system_clock_shift_ = absl::Hours(-10'000);
  clock_.Advance(absl::Minutes(9));
  Crash();
  Start();
  Rounds(3);
  EXPECT_EQ(Get("a").state(), Job::RUNNING);
  system_clock_shift_ = absl::Hours(10'000);
  Rounds(3);
  EXPECT_EQ(Get("a").state(), Job::RUNNING);
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(Until("a", Job::SUCCEEDED));
  EXPECT_THAT(EvaluationEvents(), ElementsAre("TRIGGERED q-final", "EXPIRED q-final"));
}

TEST_F(ReconcilerEvaluationsTest, AStopEndsTheWait) {
  AwaitFinal("a");
  AwaitFinal("b");
  AwaitFinal("c");
  Command(jobs_->Stop(Stop("a"), ""));
  EXPECT_EQ(Get("a").state(), Job::SUCCEEDED);
  Command(jobs_->Stop(Stop("b", "DISCARD"), ""));
  EXPECT_EQ(Get("b").state(), Job::CANCELLED);
  Command(jobs_->Stop(Stop("c", "FORCE"), ""));
  EXPECT_EQ(Get("c").state(), Job::CANCELLED);
  EXPECT_FALSE(Active("b", "AwaitingEvaluation"));
  // The evaluations can follow the end.
  End("jobs/a/evaluations/q-final");
  End("jobs/b/evaluations/q-final");
  Rounds(2);
  EXPECT_EQ(Get("b").state(), Job::CANCELLED);
}

TEST_F(ReconcilerEvaluationsTest, AStopThatCameBeforeTheEndDoesNotWait) {
  StartRunning("a", kRequired);
  Spool("a", {"stage {stage: 'SaveFinal'}"});
  Rounds(1);
  Command(jobs_->Stop(Stop("a"), ""));
  Complete("a", 30);
  // SaveFinal had begun, so the stop lets it finish; the job still awaits its evaluation.
  for (int i = 0; i < 60 && !Active("a", "AwaitingEvaluation"); ++i) Rounds(1);
  EXPECT_TRUE(Active("a", "AwaitingEvaluation"));
  Command(jobs_->Stop(Stop("a"), ""));
  EXPECT_EQ(Get("a").state(), Job::SUCCEEDED);
}

TEST_F(ReconcilerEvaluationsTest, APauseThatCameBeforeTheEndHasNoEffect) {
  StartRunning("a", kRequired);
  Spool("a", {Step(1)});
  Rounds(1);
  Command(jobs_->Pause(Pause("a"), ""));
  EXPECT_EQ(Get("a").state(), Job::PAUSING);
  Complete("a", 30);
  for (int i = 0; i < 60 && !Active("a", "AwaitingEvaluation"); ++i) Rounds(1);
  EXPECT_EQ(Get("a").state(), Job::RUNNING);
  EXPECT_EQ(Get("a").desired_state(), Job::DESIRED_RUN);
  End("jobs/a/evaluations/q-final");
  EXPECT_EQ(Get("a").state(), Job::SUCCEEDED);
}

TEST_F(ReconcilerEvaluationsTest, TheWaitDoesNotCountAsTraining) {
  AwaitFinal("a", "limits: {max_run_time: 1h}\n" +
                      std::string(kRequired).replace(std::string(kRequired).find("10m"), 3, "24h"));
  clock_.Advance(absl::Hours(20));
  Rounds(3);
  EXPECT_EQ(Get("a").state(), Job::RUNNING);
  End("jobs/a/evaluations/q-final");
  EXPECT_EQ(Get("a").state(), Job::SUCCEEDED);
}

}  // namespace
}  // namespace trainerd::server
