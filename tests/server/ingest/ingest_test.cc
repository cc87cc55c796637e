// SPDX-License-Identifier: Apache-2.0
// What a worker's events change in the database.
#include "server/ingest/ingest.h"

#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

class IngestTest : public ::testing::Test {
 protected:
  IngestTest() {
    auto store = Store::Open({.path = dir_ / "trainerd.db",
                              .listener = recorder_.Listener(),
                              .clock = clock_.Function(),
                              .steady_clock = clock_.Function()});
    EXPECT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    JobRecord record = AddJob(*store_, "a", dir_ / "a", "checkpoint: {every_steps: 10}");
    EXPECT_OK(store_->Change([&](Transaction& t) -> absl::Status {
      record.job.set_attempt(1);
      v1::Attempt attempt;
      attempt.set_job("jobs/a");
      attempt.set_number(1);
      EXPECT_OK(StoreAttempt(t.db(), attempt));
      return ApplyTransition(t, {.to = v1::Job::STARTING, .desired_state = v1::Job::DESIRED_RUN},
                             &record);
    }));
  }
  void Take(const std::vector<std::string>& events, int64_t offset = 1) {
    IngestBatch batch{.job = "jobs/a", .attempt = 1, .next = {1, offset}};
    for (const std::string& text : events) batch.events.push_back(FromText<v1::Event>(text));
    ASSERT_OK(store_->Change([&](Transaction& t) { return IngestEvents(t, batch); }));
  }
  v1::Job Job() { return Load(*store_, "a").job; }
  std::string Types() {
    std::string text;
    for (const v1::Event& e : recorder_.Events()) {
      const auto* field = v1::Event::descriptor()->FindFieldByNumber(EventType(e));
      text += field->name() + " ";
    }
    return text;
  }
  bool Active(const std::string& type) { return IsConditionActive(Job(), type); }

  TempDir dir_;
  FakeClock clock_;
  EventRecorder recorder_;
  std::unique_ptr<Store> store_;
};

TEST_F(IngestTest, MovesToRunningAtTheStageTrain) {
  Take({"stage {stage: 'OpenModel'}", "stage {stage: 'OpenModel' finished: true}"});
  EXPECT_EQ(Job().state(), v1::Job::STARTING);
  EXPECT_EQ(Job().progress().stage(), "OpenModel");
  Take({"stage {stage: 'Train'}"}, 2);
  EXPECT_EQ(Job().state(), v1::Job::RUNNING);
  EXPECT_TRUE(Job().has_start_time());
  EXPECT_EQ(Types(), "state_changed state_changed stage stage stage state_changed ");
}

TEST_F(IngestTest, KeepsAPauseThatPrecedesTheStageTrain) {
  JobRecord record = Load(*store_, "a");
  ASSERT_OK(store_->Change([&](Transaction& t) {
    return ApplyTransition(t, {.to = v1::Job::PAUSING, .desired_state = v1::Job::DESIRED_PAUSE},
                           &record);
  }));
  Take({"stage {stage: 'Train'}"});
  EXPECT_EQ(Job().state(), v1::Job::PAUSING);
}

TEST_F(IngestTest, KeepsTheNewestProgressAndClearsWhatWasNotMeasured) {
  Take({"metrics {step: 1 loss: 2.5 tokens: 100 learning_rate: 0.1 total_steps: 9}",
        "metrics {step: 2 tokens: 50}"});
  const v1::Progress p = Job().progress();
  EXPECT_EQ(p.step(), 2);
  EXPECT_EQ(p.tokens(), 150);
  EXPECT_EQ(p.total_steps(), 9);
  EXPECT_FALSE(p.has_loss());
  EXPECT_FALSE(p.has_learning_rate());
}

TEST_F(IngestTest, StoresEventsAndSpoolPositionInOneTransaction) {
  Take({"metrics {step: 1}"}, 77);
  ASSERT_OK(store_->Read([&](Connection& db) -> absl::Status {
    EXPECT_EQ(LoadSpoolPosition(db, "a", 1)->offset, 77);
    EXPECT_EQ(LoadAttempt(db, "a", 1)->last_step(), 1);
    return absl::OkStatus();
  }));
  IngestBatch bad{.job = "jobs/a", .attempt = 2, .next = {1, 99}};
  bad.events.push_back(FromText<v1::Event>("metrics {step: 2}"));
  EXPECT_FALSE(store_->Change([&](Transaction& t) { return IngestEvents(t, bad); }).ok());
  EXPECT_EQ(Job().progress().step(), 1);
}

TEST_F(IngestTest, MakesAVerifiedCheckpointTheResumePoint) {
  Take({"metrics {step: 10 tokens: 5}",
        "checkpoint {kind: PUBLISHED checkpoint {name: 'jobs/a/checkpoints/c10' step: 10 path: "
        "'/p'}}"});
  EXPECT_EQ(Job().latest_checkpoint(), "") << "published is not verified";
  Take({"checkpoint {kind: VERIFIED checkpoint {name: 'jobs/a/checkpoints/c10' step: 10}}"}, 2);
  EXPECT_EQ(Job().latest_checkpoint(), "jobs/a/checkpoints/c10");
  Take({"checkpoint {kind: PUBLISHED checkpoint {name: 'jobs/a/checkpoints/c20' step: 20 verified: "
        "true}}"},
       3);
  EXPECT_EQ(Job().latest_checkpoint(), "jobs/a/checkpoints/c20");
  ASSERT_OK(store_->Read([&](Connection& db) -> absl::Status {
    auto row = FindCheckpoint(db, "a", "c10");
    EXPECT_EQ((*row)->checkpoint.path(), "/p") << "VERIFIED did not overwrite what PUBLISHED said";
    EXPECT_EQ((*row)->checkpoint.job(), "jobs/a");
    EXPECT_EQ((*row)->checkpoint.tokens(), 5) << "of the progress: the worker did not report any";
    return absl::OkStatus();
  }));
}

TEST_F(IngestTest, StoresAFailedCheckpointAsAnEventOnly) {
  Take(
      {"checkpoint {kind: FAILED message: 'no space' checkpoint {name: 'jobs/a/checkpoints/x' "
       "step: 5}}"});
  ASSERT_OK(store_->Read([&](Connection& db) -> absl::Status {
    EXPECT_TRUE(ListCheckpointRows(db, "a", true)->empty());
    return absl::OkStatus();
  }));
  EXPECT_EQ(recorder_.Events().back().checkpoint().message(), "no space");
}

TEST_F(IngestTest, SetsAndClearsConditionsFromEvents) {
  Take({"notice {code: 'EVENTS_DROPPED' message: '12 metrics'}"});
  EXPECT_TRUE(Active("Degraded"));
  Take({"alert {type: 'loss_spike' active: true step: 100}", "metrics {step: 119}"}, 2);
  EXPECT_FALSE(Active("Diverging"));
  Take({"metrics {step: 120}"}, 3);
  EXPECT_TRUE(Active("Diverging"));
  Take({"alert {type: 'loss_spike' active: false step: 121}"}, 4);
  EXPECT_FALSE(Active("Diverging"));
  EXPECT_TRUE(Active("CheckpointStale")) << "120 steps without a checkpoint, every_steps 10";
  Take({"checkpoint {kind: PUBLISHED checkpoint {name: 'jobs/a/checkpoints/c' step: 121 verified: "
        "true}}"},
       5);
  EXPECT_FALSE(Active("CheckpointStale"));
}

TEST_F(IngestTest, KeepsAlertsWithTheJob) {
  Take({"alert {type: 'plateau' active: true severity: INFO step: 50 message: 'flat'}",
        "alert {type: 'diverged' active: true severity: CRITICAL step: 60}",
        "alert {type: 'plateau' active: false step: 70}"});
  const v1::Job job = Job();
  ASSERT_EQ(job.alerts_size(), 2);
  EXPECT_EQ(job.alerts(0).type(), "diverged");
  EXPECT_TRUE(job.alerts(0).active());
  EXPECT_EQ(job.alerts(1).message(), "flat");
  EXPECT_EQ(job.alerts(1).cleared_step(), 70);
}

TEST_F(IngestTest, RecordsThatSaveFinalHasBegun) {
  Take({"stage {stage: 'SaveFinal'}"});
  EXPECT_TRUE(Load(*store_, "a").ledger.save_final_begun());
}

TEST_F(IngestTest, IgnoresEventsThatOnlyTheDaemonMayMake) {
  Take({"state_changed {to_state: SUCCEEDED}", "job: 'jobs/other' attempt: 9 metrics {step: 1}"});
  EXPECT_EQ(Job().state(), v1::Job::STARTING);
  const v1::Event last = recorder_.Events().back();
  EXPECT_TRUE(last.has_metrics());
  EXPECT_EQ(last.job(), "jobs/a");
  EXPECT_EQ(last.attempt(), 1);
}

// T3
TEST_F(IngestTest, RebuildsTheRowByReplayingStateChanges) {
  Take({"stage {stage: 'Train'}", "metrics {step: 1}"});
  v1::StateChanged last;
  v1::Job::State state = v1::Job::STATE_UNSPECIFIED;
  for (const v1::Event& e : recorder_.Events()) {
    if (!e.has_state_changed()) continue;
    EXPECT_EQ(e.state_changed().from_state(), state);
    state = e.state_changed().to_state();
    last = e.state_changed();
  }
  EXPECT_EQ(last.to_state(), Job().state());
  EXPECT_EQ(last.desired_state(), Job().desired_state());
  EXPECT_EQ(last.wait_reason(), Job().wait_reason());
  EXPECT_EQ(last.attempt(), Job().attempt());
}

}  // namespace
}  // namespace trainerd::server
