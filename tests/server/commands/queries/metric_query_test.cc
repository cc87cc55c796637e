// SPDX-License-Identifier: Apache-2.0
// QueryMetrics against the events themselves, before and after they are moved into columns.
#include "server/commands/queries/metric_query.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "server/events/cursor.h"
#include "server/store/rows/evaluation_rows.h"
#include "server/store/rows/run_rows.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class MetricQueryTest : public ::testing::Test {
 protected:
  MetricQueryTest() {
    auto store = Store::Open({.path = dir_ / "trainerd.db",
                              .clock = clock_.Function(),
                              .steady_clock = clock_.Function()});
    EXPECT_OK(store.status());
    store_ = *std::move(store);
    AddJob(*store_, "a", dir_ / "a");
  }
  static double LossOf(int attempt, int64_t step) {
    return 1.0 / static_cast<double>(step) + attempt;
  }
  // Steps from `first` to `last` of one attempt, an evaluation every 100.
  void Train(int attempt, int64_t first, int64_t last) {
    v1::Attempt row;
    row.set_job("jobs/a");
    row.set_number(attempt);
    row.set_end(v1::Attempt::COMPLETED);
    std::vector<v1::Event> events;
    for (int64_t step = first; step <= last; ++step) {
      v1::Event event;
      event.set_job("jobs/a");
      event.set_attempt(attempt);
      *event.mutable_time() = ToProto(absl::FromUnixSeconds(1'000'000 + step));
      event.mutable_metrics()->set_step(step);
      event.mutable_metrics()->set_loss(LossOf(attempt, step));
      event.mutable_metrics()->set_tokens(100 * step);
      if (step % 3 == 0) event.mutable_metrics()->set_grad_norm(2);
      events.push_back(event);
      if (step % 100 != 0) continue;
      event.clear_metrics();
      event.mutable_eval()->set_step(step);
      event.mutable_eval()->set_set("validation");
      event.mutable_eval()->set_loss(static_cast<double>(step));
      events.push_back(event);
    }
    ASSERT_OK(store_->Change([&](Transaction& t) { return StoreAttempt(t.db(), row); }));
    for (size_t done = 0; done < events.size(); done += 200) {
      ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
        for (size_t i = done; i < std::min(events.size(), done + 200); ++i)
          EXPECT_OK(t.Append(events[i]));
        return absl::OkStatus();
      }));
    }
  }
  void End() {
    JobRecord record = Load(*store_, "a");
    ASSERT_OK(store_->Change([&](Transaction& t) {
      return ApplyTransition(
          t, {.to = v1::Job::CANCELLED, .desired_state = v1::Job::DESIRED_DISCARD}, &record);
    }));
  }
  v1::QueryMetricsResponse Get(const std::string& text) {
    auto response =
        QueryMetrics(*store_, FromText<v1::QueryMetricsRequest>(absl::StrCat("name: 'a' ", text)));
    EXPECT_OK(response.status());
    return response.ok() ? *response : v1::QueryMetricsResponse();
  }
  absl::Status Refusal(const std::string& text) {
    return QueryMetrics(*store_, FromText<v1::QueryMetricsRequest>(text)).status();
  }
  int64_t Count(const char* sql) {
    int64_t count = -1;
    EXPECT_OK(store_->Read([&](Connection& db) -> absl::Status {
      Query query(db, sql);
      if (query.Step()) count = query.Int(0);
      return query.status();
    }));
    return count;
  }
  int64_t Chunks() { return Count("SELECT count(*) FROM metric_chunks"); }

  TempDir dir_;
  FakeClock clock_;
  std::unique_ptr<Store> store_;
};

TEST_F(MetricQueryTest, AnswersTheSameBeforeAndAfterCompactionAndExpiry) {
  Train(1, 1, 3000);
  Train(2, 2501, 4100);
  const std::vector<std::string> requests = {
      "",
      "max_points: 10",
      "max_points: 7 metrics: ['eval.validation.loss', 'loss']",
      "min_step: 777 max_step: 3333 max_points: 5",
      "max_points: 10000 metrics: 'loss'",
      "attempt: 1 max_points: 100",
      "attempt: 2 max_points: 3 metrics: 'tokens'",
      "min_step: 2499 max_step: 2502 metrics: 'loss'"};
  std::vector<v1::QueryMetricsResponse> before;
  for (const std::string& request : requests) before.push_back(Get(request));
  const auto expect_same = [&](const std::string& when) {
    for (size_t i = 0; i < requests.size(); ++i) {
      v1::QueryMetricsResponse now = Get(requests[i]);
      now.set_cursor(before[i].cursor());
      EXPECT_EQ(now.SerializeAsString(), before[i].SerializeAsString()) << when << requests[i];
    }
  };
  EXPECT_EQ(Chunks(), 0);
  CompactAllMetrics(*store_);
  EXPECT_GE(Chunks(), 4);
  expect_same("while it runs: ");
  End();
  CompactAllMetrics(*store_);
  expect_same("after its end: ");
  clock_.Advance(absl::Hours(1));
  ASSERT_OK(store_->Change(
      [&](Transaction& t) { return PruneEvents(t.db(), clock_.Now(), 10).status(); }));
  EXPECT_EQ(Count("SELECT count(*) FROM events WHERE type = 11"), 0);
  expect_same("after its events have expired: ");
  ASSERT_OK(store_->Change([&](Transaction& t) { return DeleteJobRows(t.db(), "a"); }));
  EXPECT_EQ(Chunks(), 0) << "they are deleted with the job";
}

TEST_F(MetricQueryTest, LineageHasEachStepOnceFromTheNewestAttempt) {
  Train(1, 1, 90);
  Train(2, 51, 70);
  const auto check = [&](const char* when) {
    const v1::QueryMetricsResponse all = Get("metrics: 'loss'");
    ASSERT_EQ(all.series_size(), 1) << when;
    const v1::MetricSeries& loss = all.series(0);
    ASSERT_EQ(loss.steps_size(), 70) << "what attempt 1 did beyond its checkpoint is superseded";
    for (int i = 0; i < 70; ++i) {
      EXPECT_EQ(loss.steps(i), i + 1);
      EXPECT_EQ(loss.last(i), LossOf(i < 50 ? 1 : 2, i + 1)) << when;
    }
    EXPECT_THAT(loss.min(), IsEmpty());
    EXPECT_EQ(all.bucket_steps(), 1);
    const v1::QueryMetricsResponse first = Get("metrics: 'loss' attempt: 1");
    EXPECT_EQ(first.series(0).steps_size(), 90) << when;
    EXPECT_EQ(first.series(0).last(80), LossOf(1, 81));
  };
  check("before: ");
  End();
  CompactAllMetrics(*store_);
  check("after: ");
}

TEST_F(MetricQueryTest, BucketsHaveLastLeastAndGreatest) {
  Train(1, 1, 1000);
  const v1::QueryMetricsResponse response = Get("max_points: 4 metrics: ['loss', 'grad_norm']");
  EXPECT_EQ(response.bucket_steps(), 256);
  const v1::MetricSeries& loss = response.series(0);
  ASSERT_THAT(loss.steps(), ElementsAre(255, 511, 767, 1000));
  EXPECT_EQ(loss.times(0), 1'000'255);
  EXPECT_EQ(loss.last(1), LossOf(1, 511));
  EXPECT_EQ(loss.min(1), LossOf(1, 511));
  EXPECT_EQ(loss.max(1), LossOf(1, 256));
  EXPECT_THAT(response.series(1).steps(), ElementsAre(255, 510, 765, 999));
  EXPECT_THAT(response.series(1).last(), ElementsAre(2, 2, 2, 2));
}

TEST_F(MetricQueryTest, DefaultMetricsAndWhatIsAvailable) {
  Train(1, 1, 200);
  const v1::QueryMetricsResponse response = Get("");
  std::vector<std::string> names;
  for (const v1::MetricSeries& series : response.series()) names.push_back(series.metric());
  EXPECT_THAT(names, ElementsAre("loss", "grad_norm", "eval.validation.loss"));
  EXPECT_THAT(response.available(),
              ElementsAre("eval.validation.loss", "grad_norm", "loss", "tokens"));
  EXPECT_THAT(Get("metrics: ['tokens', 'none', 'loss', 'tokens']").series(0).metric(), "tokens");
  EXPECT_EQ(Get("metrics: ['tokens', 'none', 'loss', 'tokens']").series_size(), 2);
}

TEST_F(MetricQueryTest, HasWhatEvaluatorsReportedOfTheLineage) {
  Train(1, 1, 20);
  const auto report = [&](const std::string& checkpoint, int64_t step, double value) {
    ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
      v1::Checkpoint row;
      row.set_job("jobs/a");
      row.set_name("jobs/a/checkpoints/" + checkpoint);
      row.set_step(step);
      row.set_superseded(checkpoint == "off");
      EXPECT_OK(StoreCheckpoint(t.db(), row));
      EvaluationRecord record{.entry = "mmlu", .trigger_time = t.now(), .deadline = t.now()};
      v1::Evaluation& evaluation = record.evaluation;
      evaluation.set_name(absl::StrCat("jobs/a/evaluations/mmlu-", checkpoint, "-", value));
      evaluation.set_job("jobs/a");
      evaluation.set_model(row.name());
      evaluation.set_step(step);
      evaluation.set_state(v1::Evaluation::COMPLETED);
      *evaluation.mutable_end_time() = ToProto(absl::FromUnixSeconds(2'000'000 + step));
      v1::Measurement& metric = *evaluation.add_metrics();
      metric.set_name("acc");
      metric.set_value(value);
      return StoreEvaluation(t.db(), &record);
    }));
  };
  report("c10", 10, 0.5);
  report("c20", 20, 0.25);
  report("c20", 20, 0.75);
  report("off", 15, 0.1);
  auto request = FromText<v1::QueryMetricsRequest>("name: 'a' metrics: 'remote.mmlu.acc'");
  const auto response = QueryMetrics(*store_, request);
  ASSERT_OK(response.status());
  ASSERT_EQ(response->series_size(), 1);
  EXPECT_THAT(response->series(0).steps(), ElementsAre(10, 20));
  EXPECT_THAT(response->series(0).last(), ElementsAre(0.5, 0.75));
  EXPECT_THAT(response->series(0).times(), ElementsAre(2'000'010, 2'000'020));
  EXPECT_EQ(
      std::count(response->available().begin(), response->available().end(), "remote.mmlu.acc"), 1);
  request.set_min_step(11);
  EXPECT_THAT(QueryMetrics(*store_, request)->series(0).steps(), ElementsAre(20));
  request.set_attempt(1);
  EXPECT_EQ(QueryMetrics(*store_, request)->series_size(), 0) << "not of one attempt";
}

TEST_F(MetricQueryTest, JobWithoutMetricsHasAnEmptyAnswer) {
  const v1::QueryMetricsResponse response = Get("");
  EXPECT_EQ(response.series_size(), 0);
  EXPECT_EQ(response.available_size(), 0);
  EXPECT_EQ(response.bucket_steps(), 1);
  EXPECT_EQ(response.cursor(), FormatCursor(store_->database_id(), 1));
}

TEST_F(MetricQueryTest, ValuesThatAreNoNumbersAreKept) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const std::vector<double> losses = {1, kNan, 3, kInfinity, kNan, kNan, -kInfinity, kNan};
  ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
    for (size_t i = 0; i < losses.size(); ++i) {
      v1::Event event;
      event.set_job("jobs/a");
      event.set_attempt(1);
      event.mutable_metrics()->set_step(static_cast<int64_t>(i));
      event.mutable_metrics()->set_loss(losses[i]);
      EXPECT_OK(t.Append(event));
    }
    return absl::OkStatus();
  }));
  End();
  for (const bool compacted : {false, true}) {
    if (compacted) CompactAllMetrics(*store_);
    const v1::MetricSeries loss = Get("max_points: 4 metrics: 'loss'").series(0);
    ASSERT_EQ(loss.steps_size(), 4);
    EXPECT_TRUE(std::isnan(loss.last(0)));
    EXPECT_EQ(loss.min(0), 1);
    EXPECT_EQ(loss.max(0), 1);
    EXPECT_EQ(loss.last(1), kInfinity);
    EXPECT_EQ(loss.max(1), 3);
    EXPECT_TRUE(std::isnan(loss.min(2))) << "nothing else is in the bucket";
    EXPECT_EQ(loss.min(3), -kInfinity);
  }
}

TEST_F(MetricQueryTest, RefusesWhatIsOutOfRange) {
  Train(1, 1, 3);
  for (const char* text : {"max_points: -1", "max_points: 10001", "min_step: -1", "max_step: -1",
                           "min_step: 5 max_step: 4", "attempt: -1",
                           "max_points: 10000 metrics: ['a', 'b', 'c', 'd', 'e', 'f', 'g']"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Refusal(absl::StrCat("name: 'a' ", text)))) << text;
  }
  std::string many = "name: 'a'";
  for (int i = 0; i < 33; ++i) absl::StrAppend(&many, " metrics: 'm", i, "'");
  EXPECT_TRUE(absl::IsInvalidArgument(Refusal(many)));
  EXPECT_OK(Refusal("name: 'a' max_points: 10000 metrics: ['a', 'b', 'c', 'd', 'e', 'f']"));
  EXPECT_TRUE(absl::IsNotFound(Refusal("name: 'none'")));
  EXPECT_TRUE(absl::IsNotFound(Refusal("name: 'a' attempt: 2")));
  EXPECT_OK(Refusal("name: 'a' attempt: 1"));
  EXPECT_TRUE(absl::IsInvalidArgument(Refusal("name: 'jobs/a/final'")));
}

}  // namespace
}  // namespace trainerd::server
