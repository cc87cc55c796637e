// SPDX-License-Identifier: Apache-2.0
// Evaluations in a real database: what triggers them, how they end, what they hold, and the job
// that awaits them. The clock of the deadlines and the clock that users see move apart.
#include "server/ledger/evaluations/evaluations.h"

#include <tuple>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "proto/contract/job/alerts.h"
#include "server/ledger/evaluations/result.h"
#include "server/ledger/ledger.h"
#include "server/store/rows/run_rows.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;
using Evaluation = v1::Evaluation;
using Kind = TriggerPoint::Kind;

constexpr char kEntry[] = "evaluation: {remote: [{name: q, suite: s, when: {every_steps: 10}}]}\n";

class EvaluationsTest : public ::testing::Test {
 protected:
  EvaluationsTest() { Open(); }
  void Open() {
    store_.reset();
    auto store = Store::Open({.path = dir_ / "trainerd.db",
                              .listener = recorder_.Listener(),
                              .clock = users_.Function(),
                              .steady_clock = clock_.Function()});
    ASSERT_OK(store.status());
    store_ = *std::move(store);
  }
  void Pass(absl::Duration time) {
    clock_.Advance(time);
    users_.Advance(time);
  }
  void Change(const std::function<absl::Status(Transaction&)>& change) {
    ASSERT_OK(store_->Change(change));
  }
  std::string Checkpoint(const std::string& job, int64_t step, bool superseded = false) {
    const std::string name = absl::StrCat("jobs/", job, "/checkpoints/step-", step);
    Change([&](Transaction& t) {
      v1::Checkpoint checkpoint;
      checkpoint.set_name(name);
      checkpoint.set_job(JobName(job));
      checkpoint.set_step(step);
      checkpoint.set_verified(true);
      checkpoint.set_superseded(superseded);
      return StoreCheckpoint(t.db(), checkpoint);
    });
    return name;
  }
  void Trigger(const std::string& job, const std::string& model, Kind kind, int64_t step) {
    Change([&](Transaction& t) {
      return TriggerEvaluations(t, Load(t.db(), job), model, {.kind = kind, .step = step});
    });
  }
  void Publish(const std::string& job, int64_t step) {
    Trigger(job, Checkpoint(job, step), Kind::kPublished, step);
  }
  static JobRecord Load(Connection& db, const std::string& job) {
    auto record = LoadJob(db, job);
    EXPECT_TRUE(record.ok()) << record.status();
    return record.ok() ? *record : JobRecord();
  }
  EvaluationRecord Get(const std::string& name) {
    auto record = store_->Read([&](Connection& db) { return LoadEvaluation(db, name); });
    EXPECT_TRUE(record.ok()) << record.status();
    return record.ok() ? *record : EvaluationRecord();
  }
  Evaluation::State State(const std::string& name) { return Get(name).evaluation.state(); }
  void End(const std::string& name, Evaluation::State state) {
    Change([&](Transaction& t) -> absl::Status {
      auto record = LoadEvaluation(t.db(), name);
      return EndEvaluation(t, state, &*record);
    });
  }
  void Complete(const std::string& name, const std::vector<v1::Measurement>& metrics) {
    Change([&](Transaction& t) -> absl::Status {
      auto record = LoadEvaluation(t.db(), name);
      record->evaluation.mutable_metrics()->Assign(metrics.begin(), metrics.end());
      absl::Status ended = EndEvaluation(t, Evaluation::COMPLETED, &*record);
      return ended.ok() ? RecordResult(t, *record) : ended;
    });
  }
  // "STATE id" of each remote_eval event.
  std::vector<std::string> Events() {
    std::vector<std::string> events;
    for (const v1::Event& event : recorder_.Events()) {
      if (!event.has_remote_eval()) continue;
      const Evaluation& evaluation = event.remote_eval().evaluation();
      EXPECT_EQ(event.job(), evaluation.job());
      events.push_back(absl::StrCat(Evaluation::State_Name(evaluation.state()), " ",
                                    EvaluationId(evaluation.name())));
    }
    return events;
  }
  std::vector<v1::Alert> Alerts() {
    std::vector<v1::Alert> alerts;
    for (const v1::Event& event : recorder_.Events()) {
      if (event.has_alert()) alerts.push_back(event.alert());
    }
    return alerts;
  }
  static v1::Measurement Accuracy(double value, int64_t samples = 10'000) {
    v1::Measurement metric;
    metric.set_name("acc");
    metric.set_value(value);
    metric.set_sample_count(samples);
    return metric;
  }
  // RUNNING, with `required` evaluations of the final model open.
  void AwaitFinal(const std::string& job, const std::string& entries) {
    JobRecord record = AddJob(*store_, job, dir_ / job, entries);
    Change([&](Transaction& t) -> absl::Status {
      for (const v1::Job::State state : {v1::Job::STARTING, v1::Job::RUNNING}) {
        absl::Status moved = ApplyTransition(
            t, {.to = state, .desired_state = v1::Job::DESIRED_RUN, .reason = "test", .actor = "t"},
            &record);
        if (!moved.ok()) return moved;
      }
      *record.job.add_devices() = "cpu";
      absl::Status triggered = TriggerEvaluations(t, record, FinalName(record.job.name()),
                                                  {.kind = Kind::kEnd, .step = 30});
      return triggered.ok() ? BeginEvaluationWait(t, &record) : triggered;
    });
  }
  bool Awaits(const std::string& job) {
    return IsConditionActive(server::Load(*store_, job).job, "AwaitingEvaluation");
  }

  TempDir dir_;
  FakeClock clock_;
  // The system's clock.
  FakeClock users_;
  EventRecorder recorder_;
  std::unique_ptr<Store> store_;
};

TEST_F(EvaluationsTest, StoresATriggerWithItsEventAndItsDeadline) {
  AddJob(*store_, "a", dir_ / "a",
         "evaluation: {remote: [{name: q, suite: s, params: {tasks: arc}, deadline: 2h, when: "
         "{every_steps: 10}}]}\n");
  Publish("a", 9);
  EXPECT_THAT(Events(), ElementsAre());
  Publish("a", 12);
  EXPECT_THAT(Events(), ElementsAre("TRIGGERED q-step-12"));
  const EvaluationRecord record = Get("jobs/a/evaluations/q-step-12");
  EXPECT_EQ(record.entry, "q");
  EXPECT_EQ(record.deadline, clock_.Now() + absl::Hours(2));
  const Evaluation& evaluation = record.evaluation;
  EXPECT_EQ(evaluation.model(), "jobs/a/checkpoints/step-12");
  EXPECT_EQ(evaluation.step(), 12);
  EXPECT_EQ(evaluation.trigger(), Evaluation::INTERVAL);
  EXPECT_EQ(evaluation.suite(), "s");
  EXPECT_EQ(evaluation.params().at("tasks"), "arc");
  EXPECT_FALSE(evaluation.required());
  EXPECT_EQ(FromProto(evaluation.expire_time()), users_.Now() + absl::Hours(2));
}

TEST_F(EvaluationsTest, CountsTheIntervalFromTheLastTriggerOnTheLineage) {
  AddJob(*store_, "a", dir_ / "a", kEntry);
  for (const int64_t step : {8, 16, 24, 26}) Publish("a", step);
  EXPECT_THAT(Events(), ElementsAre("TRIGGERED q-step-16", "TRIGGERED q-step-26"));
  // A later attempt resumes from step 16: what is beyond is superseded and published again.
  Change([&](Transaction& t) { return SupersedeBeyond(t, "a", 16); });
  Trigger("a", "jobs/a/checkpoints/step-26-a2", Kind::kPublished, 26);
  EXPECT_THAT(Events(),
              ElementsAre("TRIGGERED q-step-16", "TRIGGERED q-step-26", "TRIGGERED q-step-26-a2"));
}

TEST_F(EvaluationsTest, TriggersEachEntryOncePerModel) {
  JobRecord record =
      AddJob(*store_, "a", dir_ / "a",
             "evaluation: {remote: [{name: q, suite: s, when: {every_steps: 1, at_start: true}}, "
             "{name: r, suite: t}]}\n");
  Change([&](Transaction& t) {
    record.job.mutable_config()
        ->mutable_evaluation()
        ->mutable_remote(0)
        ->mutable_when()
        ->set_on_best(true);
    return StoreJob(t.db(), &record);
  });
  for (int repeat = 0; repeat < 2; ++repeat) {
    Trigger("a", "jobs/a/start", Kind::kStart, 0);
    Publish("a", 5);
    Trigger("a", "jobs/a/checkpoints/step-5", Kind::kBest, 5);
    Trigger("a", "jobs/a/final", Kind::kEnd, 9);
  }
  EXPECT_THAT(Events(), ElementsAre("TRIGGERED q-start", "TRIGGERED q-step-5", "TRIGGERED q-final",
                                    "TRIGGERED r-final"));
}

TEST_F(EvaluationsTest, HoldsItsCheckpointUntilItEnds) {
  AddJob(*store_, "a", dir_ / "a", kEntry);
  AddJob(*store_, "ab", dir_ / "ab", kEntry);
  Publish("a", 10);
  Publish("a", 20);
  Publish("ab", 10);
  const auto held = [&] {
    return *store_->Read([](Connection& db) { return CheckpointsInEvaluation(db, "a"); });
  };
  EXPECT_THAT(held(),
              UnorderedElementsAre("jobs/a/checkpoints/step-10", "jobs/a/checkpoints/step-20"));
  End("jobs/a/evaluations/q-step-10", Evaluation::FAILED);
  EXPECT_THAT(held(), UnorderedElementsAre("jobs/a/checkpoints/step-20"));
  Pass(absl::Hours(24));
  Change([](Transaction& t) { return ExpireEvaluations(t, 10).status(); });
  EXPECT_THAT(held(), UnorderedElementsAre());
}

TEST_F(EvaluationsTest, LeasesByPriorityThenAgeAndOnlyItsSuites) {
  AddJob(*store_, "a", dir_ / "a", kEntry);
  AddJob(*store_, "b", dir_ / "b", std::string(kEntry) + "priority: 5\n");
  Publish("a", 10);
  Publish("a", 20);
  Publish("b", 10);
  const auto lease = [&](const std::string& suite) {
    std::string name;
    Change([&](Transaction& t) -> absl::Status {
      auto record = FirstOnOffer(t.db(), {"none", suite}, t.steady_now());
      if (!record.ok() || !record->has_value()) return record.status();
      name = (*record)->evaluation.name();
      return GiveLease(t, {.id = "l", .evaluator = "e", .duration = absl::Minutes(1)}, &**record);
    });
    return name;
  };
  EXPECT_EQ(lease("other"), "");
  EXPECT_EQ(lease("s"), "jobs/b/evaluations/q-step-10");
  EXPECT_EQ(lease("s"), "jobs/a/evaluations/q-step-10");
  Pass(absl::Minutes(1));
  EXPECT_EQ(lease("s"), "jobs/b/evaluations/q-step-10") << "its lease has expired";
  EXPECT_EQ(Get("jobs/b/evaluations/q-step-10").evaluation.lease_count(), 2);
  EXPECT_EQ(lease("s"), "jobs/a/evaluations/q-step-10");
  EXPECT_EQ(lease("s"), "jobs/a/evaluations/q-step-20");
  EXPECT_EQ(lease("s"), "");
  int leased = 0;
  for (const std::string& event : Events()) leased += event == "LEASED q-step-10";
  EXPECT_EQ(leased, 2) << "one for each job: a later lease is no event";
}

TEST_F(EvaluationsTest, ExpiresByTheSteadyClockAlsoAfterARestart) {
  AddJob(*store_, "a", dir_ / "a", kEntry);
  Publish("a", 10);
  const std::string name = "jobs/a/evaluations/q-step-10";
  const auto expire = [&] {
    Change([](Transaction& t) { return ExpireEvaluations(t, 10).status(); });
    return State(name);
  };
  users_.Advance(absl::Hours(1'000));  // the system's clock is set forward
  EXPECT_EQ(expire(), Evaluation::TRIGGERED);
  Open();
  clock_.Advance(absl::Hours(24) - absl::Microseconds(1));
  EXPECT_EQ(expire(), Evaluation::TRIGGERED);
  clock_.Advance(absl::Microseconds(1));
  EXPECT_EQ(expire(), Evaluation::EXPIRED);
  EXPECT_EQ(expire(), Evaluation::EXPIRED);
  EXPECT_THAT(Events(), ElementsAre("TRIGGERED q-step-10", "EXPIRED q-step-10"));
}

TEST_F(EvaluationsTest, NoWaitBecomesLongerWhenTheMachineRestarts) {
  AddJob(*store_, "a", dir_ / "a", kEntry);
  Publish("a", 10);
  Change([&](Transaction& t) -> absl::Status {
    auto record = LoadEvaluation(t.db(), "jobs/a/evaluations/q-step-10");
    return GiveLease(t, {.id = "l", .duration = absl::Minutes(30)}, &*record);
  });
  const absl::Time back = clock_.Now() - absl::Hours(5'000);
  Change([&](Transaction& t) { return LimitEvaluationTimes(t.db(), back, kMaxLease); });
  const EvaluationRecord record = Get("jobs/a/evaluations/q-step-10");
  EXPECT_EQ(record.deadline, back + absl::Hours(24));
  EXPECT_EQ(record.lease_end, back + kMaxLease);
  EXPECT_EQ(record.trigger_time, back);
  Change([&](Transaction& t) {
    return LimitEvaluationTimes(t.db(), back + absl::Hours(1), kMaxLease);
  });
  EXPECT_EQ(Get("jobs/a/evaluations/q-step-10").deadline, back + absl::Hours(24))
      << "a later start of the daemon changes nothing";
}

TEST_F(EvaluationsTest, TheEndOfTheLastRequiredOneEndsTheJob) {
  const std::string entries =
      "evaluation: {remote: [{name: q, suite: s, required: true}, {name: r, suite: s, required: "
      "true, deadline: 1h}, {name: o, suite: s}]}\n";
  int number = 0;
  for (const Evaluation::State last :
       {Evaluation::COMPLETED, Evaluation::FAILED, Evaluation::EXPIRED, Evaluation::CANCELLED}) {
    const std::string job = absl::StrCat("j", ++number), name = JobName(job);
    AwaitFinal(job, entries);
    EXPECT_TRUE(Awaits(job));
    EXPECT_THAT(server::Load(*store_, job).job.devices(), ElementsAre());
    End(name + "/evaluations/o-final", Evaluation::COMPLETED);
    End(name + "/evaluations/r-final", Evaluation::COMPLETED);
    Open();
    EXPECT_EQ(server::Load(*store_, job).job.state(), v1::Job::RUNNING);
    End(name + "/evaluations/q-final", last);
    EXPECT_EQ(server::Load(*store_, job).job.state(), v1::Job::SUCCEEDED);
    EXPECT_FALSE(Awaits(job));
  }
}

TEST_F(EvaluationsTest, ADeadlineBoundsTheWait) {
  AwaitFinal("a", "evaluation: {remote: [{name: q, suite: s, required: true, deadline: 1h}]}\n");
  Pass(absl::Hours(1));
  Change([](Transaction& t) { return ExpireEvaluations(t, 10).status(); });
  EXPECT_EQ(State("jobs/a/evaluations/q-final"), Evaluation::EXPIRED);
  EXPECT_EQ(server::Load(*store_, "a").job.state(), v1::Job::SUCCEEDED);
}

TEST_F(EvaluationsTest, DeletionCancelsInPartsWhatAJobOrItsModelsHaveOpen) {
  AddJob(*store_, "a", dir_ / "a",
         "evaluation: {remote: [{name: q, suite: s, when: {every_steps: 1}}]}\n");
  AddJob(*store_, "b", dir_ / "b",
         "evaluation: {remote: [{name: q, suite: s, when: {at_start: true}}]}\n");
  const int count = kCancelledAtOnce + 10;
  for (int step = 1; step <= count; ++step) Publish("a", step);
  Trigger("b", "jobs/a/checkpoints/step-3", Kind::kStart, 3);
  ASSERT_OK(CancelAllEvaluations(*store_, "a"));
  int cancelled = 0;
  for (const std::string& event : Events()) cancelled += event.rfind("CANCELLED", 0) == 0;
  EXPECT_EQ(cancelled, count + 1);
  EXPECT_EQ(State("jobs/b/evaluations/q-start"), Evaluation::CANCELLED);
  EXPECT_THAT(Get("jobs/b/evaluations/q-start").evaluation.error(),
              HasSubstr("jobs/a was deleted"));
  Change([](Transaction& t) { return DeleteJobRows(t.db(), "a"); });
  EXPECT_FALSE(
      store_->Read([](Connection& db) { return LoadEvaluation(db, "jobs/a/evaluations/q-step-1"); })
          .ok());
}

TEST_F(EvaluationsTest, RaisesARegressionAgainstTheBestAndClearsIt) {
  AddJob(*store_, "a", dir_ / "a", kEntry);
  for (const int64_t step : {10, 20, 30, 40}) Publish("a", step);
  Complete("jobs/a/evaluations/q-step-10", {Accuracy(0.80)});
  Complete("jobs/a/evaluations/q-step-20", {Accuracy(0.70)});
  ASSERT_EQ(Alerts().size(), 1u);
  EXPECT_TRUE(Alerts()[0].active());
  EXPECT_EQ(Alerts()[0].type(), "evaluation_regression");
  EXPECT_EQ(Alerts()[0].step(), 20);
  EXPECT_EQ(Alerts()[0].value(), 0.70);
  EXPECT_THAT(Alerts()[0].message(), HasSubstr("remote.q.acc"));
  // Better than the last one, and still worse than the best one.
  Complete("jobs/a/evaluations/q-step-30", {Accuracy(0.75)});
  EXPECT_EQ(Alerts().size(), 1u);
  Complete("jobs/a/evaluations/q-step-40", {Accuracy(0.79)});
  ASSERT_EQ(Alerts().size(), 2u);
  EXPECT_FALSE(Alerts()[1].active());
  EXPECT_FALSE(server::Load(*store_, "a").job.alerts(0).active());
}

TEST_F(EvaluationsTest, ComparesWithTheStartAlsoWhenAnotherJobMeasuredIt) {
  AddJob(*store_, "a", dir_ / "a", kEntry);
  Publish("a", 10);
  Complete("jobs/a/evaluations/q-step-10", {Accuracy(0.80)});
  JobRecord b = AddJob(*store_, "b", dir_ / "b", kEntry);
  Change([&](Transaction& t) {
    b.job.set_base("jobs/a/checkpoints/step-10");
    return StoreJob(t.db(), &b);
  });
  Publish("b", 20);
  Complete("jobs/b/evaluations/q-step-20", {Accuracy(0.60)});
  ASSERT_EQ(Alerts().size(), 1u);
  EXPECT_THAT(Alerts()[0].message(), HasSubstr("0.8"));
}

TEST_F(EvaluationsTest, TheLateResultOfAnEarlierStepNeitherRaisesNorClears) {
  AddJob(*store_, "a", dir_ / "a", kEntry);
  for (const int64_t step : {10, 20, 30}) Publish("a", step);
  Complete("jobs/a/evaluations/q-step-30", {Accuracy(0.90)});
  Complete("jobs/a/evaluations/q-step-10", {Accuracy(0.50)});
  EXPECT_TRUE(Alerts().empty()) << "the model has become better";
  Complete("jobs/a/evaluations/q-step-20", {Accuracy(0.40)});
  ASSERT_EQ(Alerts().size(), 1u);
  EXPECT_TRUE(Alerts()[0].active());
}

TEST_F(EvaluationsTest, AResultGoesIntoTheLedgerAndCanMakeACheckpointTheBest) {
  AddJob(*store_, "a", dir_ / "a",
         "evaluation: {best: {metric: remote.q.acc}, remote: [{name: q, suite: s, when: "
         "{every_steps: 10}}]}\n");
  for (const int64_t step : {10, 20, 30}) Publish("a", step);
  for (const auto& [step, value, best] :
       {std::tuple(10, 0.5, 10), std::tuple(20, 0.9, 20), std::tuple(30, 0.8, 20)}) {
    Complete(absl::StrCat("jobs/a/evaluations/q-step-", step), {Accuracy(value)});
    const v1::Job job = server::Load(*store_, "a").job;
    EXPECT_EQ(job.best_checkpoint(), absl::StrCat("jobs/a/checkpoints/step-", best));
    const auto row = store_->Read([&, step = step](Connection& db) {
      return FindCheckpoint(db, "a", absl::StrCat("step-", step));
    });
    ASSERT_OK(row.status());
    ASSERT_EQ((*row)->checkpoint.metrics_size(), 1);
    EXPECT_EQ((*row)->checkpoint.metrics(0).name(), "remote.q.acc");
    EXPECT_EQ((*row)->checkpoint.metrics(0).value(), value);
    EXPECT_EQ((*row)->checkpoint.metrics(0).sample_count(), 10'000);
  }
  std::vector<std::string> best;
  for (const v1::Event& event : recorder_.Events()) {
    if (event.checkpoint().kind() == v1::CheckpointEvent::BECAME_BEST)
      best.push_back(CheckpointId(event.checkpoint().checkpoint().name()));
  }
  EXPECT_THAT(best, ElementsAre("step-10", "step-20"));
}

TEST_F(EvaluationsTest, TriggersTheBestCheckpointOnceItIsAnotherOne) {
  JobRecord record =
      AddJob(*store_, "a", dir_ / "a",
             "evaluation: {remote: [{name: q, suite: s, when: {at_start: true}}]}\n");
  record.job.mutable_config()->mutable_evaluation()->mutable_remote(0)->mutable_when()->set_on_best(
      true);
  record.job.set_best_checkpoint(Checkpoint("a", 10));
  const auto changed = [&](const std::string& before) {
    Change([&](Transaction& t) { return TriggerIfBestChanged(t, record, before); });
    return Events();
  };
  EXPECT_THAT(changed("jobs/a/checkpoints/step-10"), ElementsAre());
  EXPECT_THAT(changed(""), ElementsAre("TRIGGERED q-step-10"));
  EXPECT_EQ(Get("jobs/a/evaluations/q-step-10").evaluation.trigger(), Evaluation::BEST);
  EXPECT_THAT(changed("jobs/a/checkpoints/step-5"), ElementsAre("TRIGGERED q-step-10"));
}

TEST_F(EvaluationsTest, AResultOfAnotherEntryDoesNotClearTheAlert) {
  AddJob(*store_, "a", dir_ / "a",
         "evaluation: {remote: [{name: q, suite: s, when: {every_steps: 10}}, {name: r, suite: s, "
         "when: {every_steps: 10}}]}\n");
  Publish("a", 10);
  Publish("a", 20);
  Complete("jobs/a/evaluations/q-step-10", {Accuracy(0.80)});
  Complete("jobs/a/evaluations/q-step-20", {Accuracy(0.70)});
  Complete("jobs/a/evaluations/r-step-20", {Accuracy(0.99)});
  EXPECT_EQ(Alerts().size(), 1u);
}

}  // namespace
}  // namespace trainerd::server
