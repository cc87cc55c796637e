// SPDX-License-Identifier: Apache-2.0
// What a worker's events change in the database.
#include "server/ingest/ingest.h"

#include "absl/strings/str_cat.h"
#include "server/ledger/checkpoints/checkpoint_request.h"
#include "server/ledger/ledger.h"
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

TEST_F(IngestTest, ShowsThatTheWorkerWaitsForSpace) {
  const auto condition = [](const std::string& text) {
    return "condition_changed {condition {" + text + "}}";
  };
  const std::string waiting =
      condition("type: 'DiskLow' active: true reason: 'WAITING' message: 'too little'");
  const std::string freed = condition("type: 'DiskLow' active: false reason: 'FREED'");
  // What is no wait of this worker changes nothing.
  Take({condition("type: 'Degraded' active: true reason: 'WAITING'"),
        condition("type: 'DiskLow' active: true reason: 'FREE_SPACE'"), freed});
  EXPECT_EQ(Job().conditions_size(), 0);
  Take({waiting}, 2);
  ASSERT_TRUE(WaitsForCheckpointSpace(Job()));
  EXPECT_EQ(Job().conditions(0).message(), "too little");
  Take({waiting}, 3);
  Take({freed}, 4);
  EXPECT_FALSE(Active("DiskLow"));
  EXPECT_EQ(Types(), "state_changed state_changed condition_changed condition_changed ");
}

TEST_F(IngestTest, TheWaitForSpaceReplacesTheWarningOfTheDaemon) {
  JobRecord record = Load(*store_, "a");
  ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
    EXPECT_OK(
        ApplyCondition(t, {.type = "DiskLow", .active = true, .reason = "FREE_SPACE"}, &record)
            .status());
    return StoreJob(t.db(), &record);
  }));
  Take({"condition_changed {condition {type: 'DiskLow' active: true reason: 'WAITING'}}"});
  EXPECT_TRUE(WaitsForCheckpointSpace(Job()));
  EXPECT_EQ(Job().conditions_size(), 1);
  EXPECT_EQ(Types(), "state_changed state_changed condition_changed condition_changed ");
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

constexpr char kPublished[] =
    "checkpoint {kind: PUBLISHED checkpoint {name: 'jobs/a/checkpoints/c10' step: 10 verified: "
    "true}}";

class IngestMetricsTest : public IngestTest {
 protected:
  v1::Checkpoint Checkpoint(const std::string& id) {
    auto row = store_->Read([&](Connection& db) { return FindCheckpoint(db, "a", id); });
    EXPECT_TRUE(row.ok() && row->has_value()) << id;
    return (*row)->checkpoint;
  }
  // "loss=1 …"
  std::string Metrics(const std::string& id) {
    const v1::Checkpoint checkpoint = Checkpoint(id);
    std::string text;
    for (const v1::Measurement& m : checkpoint.metrics())
      text += absl::StrCat(m.name(), "=", m.value(), " ");
    return text;
  }
  void SetBest() {
    JobRecord record = Load(*store_, "a");
    v1::BestConfig& best = *record.job.mutable_config()->mutable_evaluation()->mutable_best();
    best.set_metric("eval.validation.loss");
    best.set_mode(v1::BestConfig::MODE_MIN);
    ASSERT_OK(store_->Change([&](Transaction& t) { return StoreJob(t.db(), &record); }));
  }
};

TEST_F(IngestMetricsTest, ACheckpointTakesTheMetricsOfItsStep) {
  Take({"metrics {step: 9 loss: 9}", "eval {step: 9 set: 'validation' loss: 9}",
        "metrics {step: 10 loss: 1 grad_norm: 2}"});
  Take({"eval {step: 10 set: 'validation' loss: 3}", kPublished, "metrics {step: 11 loss: 8}"}, 2);
  EXPECT_EQ(Metrics("c10"), "loss=1 grad_norm=2 eval.validation.loss=3 ");
  bool in_event = false;
  for (const v1::Event& event : recorder_.Events())
    in_event |= event.checkpoint().checkpoint().metrics_size() == 3;
  EXPECT_TRUE(in_event);
  EXPECT_EQ(Checkpoint("c10").etag(), "1");
}

TEST_F(IngestMetricsTest, AnEvaluationAfterItsCheckpointIsAddedToIt) {
  SetBest();
  Take({"metrics {step: 10 loss: 1}", kPublished});
  EXPECT_EQ(Metrics("c10"), "loss=1 ");
  EXPECT_EQ(Job().best_checkpoint(), "") << "it has no value of the metric yet";
  Take({"eval {step: 10 set: 'validation' loss: 3}"}, 2);
  EXPECT_EQ(Metrics("c10"), "loss=1 eval.validation.loss=3 ");
  EXPECT_EQ(Job().best_checkpoint(), "jobs/a/checkpoints/c10");
  EXPECT_EQ(Job().best_value(), 3);
  Take({"eval {step: 11 set: 'validation' loss: 0}"}, 3);
  EXPECT_EQ(Job().best_value(), 3) << "no checkpoint is of step 11";
}

TEST_F(IngestMetricsTest, TheEventOfTheBestOneFollowsInTheSameTransaction) {
  SetBest();
  Take({"eval {step: 10 set: 'validation' loss: 3}", kPublished});
  const std::vector<v1::Event> events = recorder_.Events();
  ASSERT_GE(events.size(), 2u);
  EXPECT_EQ(events[events.size() - 2].checkpoint().kind(), v1::CheckpointEvent::PUBLISHED);
  EXPECT_EQ(events.back().checkpoint().kind(), v1::CheckpointEvent::BECAME_BEST);
  EXPECT_TRUE(events.back().checkpoint().checkpoint().best());
  EXPECT_EQ(recorder_.records.back().change,
            recorder_.records[recorder_.records.size() - 2].change);
}

TEST_F(IngestMetricsTest, ASupersededCheckpointOfTheStepGetsNoMetrics) {
  Take({"metrics {step: 10 loss: 1}", kPublished});
  ASSERT_OK(store_->Change([](Transaction& t) { return SupersedeBeyond(t, "a", 5); }));
  Take({"eval {step: 10 set: 'validation' loss: 3}"}, 2);
  EXPECT_EQ(Metrics("c10"), "loss=1 ");
}

TEST_F(IngestMetricsTest, APublishedCheckpointFulfillsWhatWasRequested) {
  Take({"metrics {step: 9 loss: 1}"});
  JobRecord record = Load(*store_, "a");
  AddCheckpointRequest(
      FromText<v1::RequestCheckpointRequest>("pin: true labels {key: 'k' value: 'v'}"), &record);
  ASSERT_OK(store_->Change([&](Transaction& t) { return StoreJob(t.db(), &record); }));
  EXPECT_TRUE(Job().checkpoint_pending());
  Take({"checkpoint {kind: PUBLISHED checkpoint {name: 'jobs/a/checkpoints/c8' step: 8}}"}, 2);
  EXPECT_TRUE(Job().checkpoint_pending()) << "it is older than the request";
  Take({kPublished}, 3);
  EXPECT_FALSE(Job().checkpoint_pending());
  EXPECT_TRUE(Checkpoint("c10").pinned());
  EXPECT_EQ(Checkpoint("c10").labels().at("k"), "v");
  EXPECT_TRUE(Checkpoint("c8").labels().empty());
}

}  // namespace
}  // namespace trainerd::server
