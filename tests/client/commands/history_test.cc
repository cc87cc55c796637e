// SPDX-License-Identifier: Apache-2.0
// ls with filters, watch --selector, events, metrics, compare, and submit --sweep.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/commands/common/errors.h"
#include "tests/client/fake_daemon.h"

namespace trainerd::client {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class HistoryTest : public ::testing::Test {
 protected:
  HistoryTest() : daemon_(&store_, SocketOf(folder_.path())) {
    std::ofstream(folder_ / "job.yaml") << "name: run\nmodel: {path: /m}\ndata: {train: d.jsonl}\n";
    store_.on_submit = [this](const v1::SubmitJobRequest& request,
                              v1::SubmitJobResponse* response) {
      const std::lock_guard lock(store_.mutex);
      if (request.config().optimizer().learning_rate() == refused_rate_)
        return Refuse(grpc::INVALID_ARGUMENT, "the device has no such memory", "X");
      *response->mutable_job()->mutable_config() = request.config();
      if (request.validate_only()) return grpc::Status::OK;
      const size_t number = ++submitted_;
      if (number == fails_at_) return Refuse(grpc::RESOURCE_EXHAUSTED, "full", "QUEUE_FULL");
      response->mutable_job()->set_name(absl::StrCat("jobs/j", number));
      return grpc::Status::OK;
    };
  }
  RunResult Run(const std::vector<std::string>& arguments) {
    return Trainctl(folder_.path(), arguments);
  }
  // The requests that were not for a check.
  std::vector<v1::SubmitJobRequest> Submits() {
    std::vector<v1::SubmitJobRequest> submits;
    for (const v1::SubmitJobRequest& request : store_.submits) {
      if (!request.validate_only()) submits.push_back(request);
    }
    return submits;
  }
  void AddSeries(const std::string& job, const std::string& metric,
                 const std::vector<double>& values, const std::vector<double>& min = {},
                 const std::vector<double>& max = {}) {
    v1::MetricSeries series;
    series.set_metric(metric);
    for (size_t i = 0; i < values.size(); ++i) {
      series.add_steps(static_cast<int64_t>(i) * 10 + 10);
      series.add_times(1700000000.5 + static_cast<double>(i));
      series.add_last(values[i]);
    }
    series.mutable_min()->Assign(min.begin(), min.end());
    series.mutable_max()->Assign(max.begin(), max.end());
    store_.metrics["jobs/" + job].push_back(series);
  }

  TempDir folder_;
  FakeStore store_;
  double refused_rate_ = -1;
  size_t fails_at_ = 0;
  size_t submitted_ = 0;
  FakeDaemon daemon_;
};

TEST_F(HistoryTest, LsSendsItsFilters) {
  const RunResult result =
      Run({"ls", "--selector", "team != blue", "--group", "my sweep", "--name", "run*", "--since",
           "2026-12-01T22:00:00Z", "--order", "priority desc"});
  EXPECT_EQ(result.code, 0) << result.err;
  ASSERT_EQ(store_.lists.size(), 1u);
  EXPECT_EQ(store_.lists[0].label_selector(), "team != blue, group = \"my sweep\"");
  EXPECT_EQ(store_.lists[0].display_name(), "run*");
  EXPECT_EQ(store_.lists[0].order_by(), "priority desc");
  EXPECT_EQ(store_.lists[0].created_after().seconds(), 1796162400);
  EXPECT_EQ(Run({"ls", "--since", "2h"}).code, 0);
  EXPECT_GT(store_.lists[1].created_after().seconds(), 1700000000);
  const RunResult refused = Run({"ls", "--since", "yesterday"});
  EXPECT_EQ(refused.code, kUsage);
  EXPECT_THAT(refused.err, HasSubstr("--since yesterday is not a time"));
}

TEST_F(HistoryTest, WatchSelectorIsForAllJobs) {
  EXPECT_EQ(Run({"watch", "aaaa", "--selector", "a"}).code, kUsage);
}

TEST_F(HistoryTest, EventsPrintsEachPageAndOneDocument) {
  for (int i = 0; i < 5; ++i) store_.AddEvent("jobs/a").mutable_notice()->set_code("CODE");
  store_.AddJob("a", "x", v1::Job::RUNNING);
  const RunResult lines = Run({"events", "a", "--type", "notice"});
  EXPECT_EQ(lines.code, 0) << lines.err;
  EXPECT_EQ(std::count(lines.out.begin(), lines.out.end(), '\n'), 5);
  ASSERT_EQ(store_.event_lists.size(), 3u);
  EXPECT_EQ(store_.event_lists[0].parent(), "jobs/a");
  EXPECT_THAT(store_.event_lists[2].event_types(), ElementsAre("notice"));
  const auto document = nlohmann::json::parse(Run({"events", "-o", "json", "--limit", "3"}).out);
  EXPECT_EQ(document["events"].size(), 3u);
  EXPECT_EQ(document["cursor"], "c3");
  EXPECT_EQ(store_.event_lists.back().parent(), "jobs/-");
  const auto newest = nlohmann::json::parse(Run({"events", "-o", "json", "--newest-first"}).out);
  EXPECT_EQ(newest["cursor"], "c2") << "of the first page";
  EXPECT_EQ(store_.event_lists.back().order_by(), "seq desc");
  const std::string documents = Run({"events", "-o", "jsonl"}).out;
  EXPECT_EQ(std::count(documents.begin(), documents.end(), '\n'), 5);
}

TEST_F(HistoryTest, MetricsPrintsATableByStepAndCsvWithEveryDigit) {
  store_.AddJob("aaaa", "x", v1::Job::RUNNING);
  AddSeries("aaaa", "loss", {0.1 + 0.2, 2}, {0.25, 1}, {4, 2});
  AddSeries("aaaa", "eval.validation.loss", {5});
  const RunResult table = Run({"metrics", "aaaa"});
  EXPECT_EQ(table.code, 0) << table.err;
  const std::vector<std::string> lines = absl::StrSplit(table.out, '\n');
  EXPECT_THAT(lines[0], AllOf(HasSubstr("STEP"), HasSubstr("eval.validation.loss")));
  EXPECT_THAT(lines[1], AllOf(StartsWith("10"), HasSubstr("0.3"), HasSubstr("5.0000")));
  EXPECT_THAT(lines[2], AllOf(StartsWith("20"), HasSubstr("2.0000"), HasSubstr("-")));
  EXPECT_EQ(store_.metric_queries[0].max_points(), 20);
  EXPECT_THAT(Run({"metrics", "aaaa", "-o", "wide"}).out, HasSubstr("(0.2500 … 4.0000)"));
  EXPECT_EQ(Run({"metrics", "aaaa", "--csv", "--metric", "loss", "--points", "7", "--from-step",
                 "3", "--to-step", "30", "--attempt", "2"})
                .out,
            "step,time,loss,loss.min,loss.max\n"
            "10,1700000000.500000,0.30000000000000004,0.25,4\n"
            "20,1700000001.500000,2,1,2\n");
  const v1::QueryMetricsRequest& request = store_.metric_queries.back();
  EXPECT_EQ(request.max_points(), 7);
  EXPECT_EQ(request.min_step(), 3);
  EXPECT_EQ(request.max_step(), 30);
  EXPECT_EQ(request.attempt(), 2);
  const auto document = nlohmann::json::parse(Run({"metrics", "aaaa", "-o", "json"}).out);
  EXPECT_EQ(document["series"][0]["last"][0], 0.1 + 0.2);
  EXPECT_EQ(store_.metric_queries.back().max_points(), 1000);
  EXPECT_EQ(Run({"metrics", "aaaa", "--csv", "-o", "json"}).code, kUsage);
}

TEST_F(HistoryTest, CompareShowsDifferingKeysAndTheBest) {
  for (const char* id : {"bbbb", "aaaa"}) {
    v1::JobConfig& config = *store_.AddJob(id, id, v1::Job::SUCCEEDED).mutable_config();
    config.mutable_optimizer()->set_learning_rate(id[0] == 'a' ? 1e-5 : 2e-5);
    config.mutable_train()->set_seed(7);
    config.mutable_data()->set_now(id);
  }
  AddSeries("aaaa", "eval.validation.loss", {3, 1.5, 2});
  AddSeries("bbbb", "eval.validation.loss", {3, 1.75, 1.75});
  const RunResult table = Run({"compare", "aaaa", "bbbb"});
  EXPECT_EQ(table.code, 0) << table.err;
  const std::vector<std::string> lines = absl::StrSplit(table.out, '\n');
  EXPECT_THAT(lines[0], AllOf(HasSubstr("optimizer.learning_rate"), Not(HasSubstr("seed")),
                              Not(HasSubstr("data.now"))));
  EXPECT_THAT(lines[1], AllOf(HasSubstr("1e-05"), HasSubstr("2.0000"), HasSubstr("1.5000 *"),
                              HasSubstr("20")));
  EXPECT_THAT(lines[2], AllOf(HasSubstr("2e-05"), HasSubstr("1.7500"), Not(HasSubstr("*"))));
  EXPECT_THAT(lines[3], HasSubstr("best: jobs/aaaa, lowest eval.validation.loss 1.5000"));
  const auto document =
      nlohmann::json::parse(Run({"compare", "aaaa", "bbbb", "-o", "json", "--mode", "max"}).out);
  EXPECT_EQ(document["best"], "jobs/aaaa") << "of equal ones the first";
  EXPECT_EQ(document["mode"], "max");
  EXPECT_EQ(document["keys"], nlohmann::json({"optimizer.learning_rate"}));
  EXPECT_EQ(document["jobs"][1]["config"]["optimizer.learning_rate"], 2e-5);
  EXPECT_EQ(document["jobs"][1]["last"], 1.75);
  EXPECT_EQ(document["jobs"][1]["best"], 3);
  EXPECT_EQ(document["jobs"][1]["best_step"], 10);
}

TEST_F(HistoryTest, CompareFollowsEvaluationBestAndUsesExtremesOfBuckets) {
  for (const char* id : {"bbbb", "aaaa"}) {
    v1::BestConfig& best = *store_.AddJob(id, id, v1::Job::RUNNING)
                                .mutable_config()
                                ->mutable_evaluation()
                                ->mutable_best();
    best.set_metric("accuracy");
  }
  AddSeries("aaaa", "accuracy", {0.5}, {0.25}, {0.75});
  const auto document = nlohmann::json::parse(Run({"compare", "aaaa", "bbbb", "-o", "json"}).out);
  EXPECT_EQ(document["metric"], "accuracy");
  EXPECT_EQ(document["mode"], "max");
  EXPECT_EQ(document["jobs"][0]["best"], 0.75);
  EXPECT_TRUE(document["jobs"][0]["best_step"].is_null()) << "the bucket does not say";
  EXPECT_TRUE(document["jobs"][1]["best"].is_null());
  EXPECT_EQ(document["best"], "jobs/aaaa");
}

TEST_F(HistoryTest, CompareNeedsJobsOrAGroup) {
  EXPECT_EQ(Run({"compare"}).code, kUsage);
  EXPECT_EQ(Run({"compare", "a", "--group", "g"}).code, kUsage);
  const RunResult none = Run({"compare", "--group", "g"});
  EXPECT_EQ(none.code, kRefused);
  EXPECT_THAT(none.err, HasSubstr("group = g"));
  EXPECT_EQ(store_.lists.back().label_selector(), "group = g");
}

TEST_F(HistoryTest, SweepChecksAllThenSubmitsOneGroup) {
  const RunResult result =
      Run({"submit", "job.yaml", "--sweep", "optimizer.learning_rate=1e-5,2e-5", "--sweep",
           "train.seed=1,2", "--request-id", "0123456789"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "jobs/j1\njobs/j2\njobs/j3\njobs/j4\n");
  EXPECT_THAT(result.err, HasSubstr("trainctl compare --group run-01234567"));
  ASSERT_EQ(store_.submits.size(), 8u);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(store_.submits[i].validate_only()) << i;
  const std::vector<v1::SubmitJobRequest> submits = Submits();
  std::set<std::string> names, ids;
  for (const v1::SubmitJobRequest& submit : submits) {
    EXPECT_EQ(submit.config().labels().at("group"), "run-01234567");
    names.insert(submit.config().name());
    ids.insert(submit.request_id());
  }
  EXPECT_EQ(names.size(), 4u);
  EXPECT_THAT(ids, ElementsAre("0123456789.1", "0123456789.2", "0123456789.3", "0123456789.4"));
  EXPECT_EQ(submits[2].config().name(), "run-learning_rate=2e-5-seed=1");
  EXPECT_EQ(submits[2].config().optimizer().learning_rate(), 2e-5);
  EXPECT_EQ(submits[2].config().train().seed(), 1);
  // Again: the same requests, from which the daemon makes no further jobs.
  Run({"submit", "job.yaml", "--sweep", "optimizer.learning_rate=1e-5,2e-5", "--sweep",
       "train.seed=1,2", "--request-id", "0123456789"});
  const std::vector<v1::SubmitJobRequest> both = Submits();
  ASSERT_EQ(both.size(), 8u);
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(both[i].config().name() + both[i].request_id(),
              both[i + 4].config().name() + both[i + 4].request_id());
}

TEST_F(HistoryTest, SweepSubmitsNothingIfOneJobIsRefused) {
  refused_rate_ = 2e-5;
  const RunResult result =
      Run({"submit", "job.yaml", "--sweep", "optimizer.learning_rate=1e-5,2e-5"});
  EXPECT_NE(result.code, 0);
  EXPECT_THAT(Submits(), IsEmpty());
  EXPECT_THAT(result.err, AllOf(HasSubstr("learning_rate=2e-5"), HasSubstr("no job")));
  refused_rate_ = -1;
  const RunResult invalid = Run({"submit", "job.yaml", "--sweep", "train.seed=1,x"});
  EXPECT_EQ(invalid.code, kUsage);
  EXPECT_THAT(invalid.err, HasSubstr("train.seed"));
  EXPECT_THAT(Submits(), IsEmpty());
}

TEST_F(HistoryTest, SweepThatFailsMidwaySaysHowToSubmitTheRest) {
  fails_at_ = 2;
  const RunResult result = Run(
      {"submit", "job.yaml", "--sweep", "train.seed=1,2,3", "--request-id", "r", "--group", "g"});
  EXPECT_EQ(result.code, kRefused);
  EXPECT_EQ(result.out, "jobs/j1\n");
  EXPECT_THAT(result.err, AllOf(HasSubstr("1 of 3 jobs"), HasSubstr("--request-id r")));
}

TEST_F(HistoryTest, SweepDryRunPrintsTheJobs) {
  const std::vector<std::string> command = {"submit",    "job.yaml", "--sweep", "train.seed=1,2",
                                            "--dry-run", "--group",  "g"};
  const RunResult table = Run(command);
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_THAT(table.out, AllOf(HasSubstr("train.seed"), HasSubstr("run-seed=2")));
  std::vector<std::string> as_json = command;
  as_json.insert(as_json.end(), {"-o", "json"});
  const auto document = nlohmann::json::parse(Run(as_json).out);
  EXPECT_EQ(document["jobs"][1]["config"]["train"]["seed"], 2);
  EXPECT_EQ(document["jobs"][1]["config"]["labels"]["group"], "g");
  EXPECT_THAT(Submits(), IsEmpty());
}

TEST_F(HistoryTest, SweepRefusesFlagsOfOneJob) {
  for (const std::vector<std::string>& flags : std::vector<std::vector<std::string>>{
           {"--sweep", "train.seed=1,2", "--watch"},
           {"--sweep", "train.seed=1,2", "--wait"},
           {"--sweep", "train.seed=1,2", "--validate-only"},
           {"--sweep", "train.seed"},
           {"--sweep", "train.seed=1,2", "--set", "output.path=/out"},
           {"--group", "g"},
           {"--dry-run"}}) {
    std::vector<std::string> command = {"submit", "job.yaml"};
    command.insert(command.end(), flags.begin(), flags.end());
    EXPECT_EQ(Run(command).code, kUsage) << flags.back();
  }
  EXPECT_THAT(store_.submits, IsEmpty());
}

}  // namespace
}  // namespace trainerd::client
