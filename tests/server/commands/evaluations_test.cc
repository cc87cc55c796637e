// SPDX-License-Identifier: Apache-2.0
// The commands of remote evaluation with a real store: what each call may do, what it leaves in
// the database, and nonsense input.
#include "server/commands/evaluations.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "server/ledger/evaluations/evaluations.h"
#include "tests/server/commands/job_manager_fixture.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;
using Evaluation = v1::Evaluation;

class EvaluationCommandsTest : public JobManagerTest {
 protected:
  EvaluationCommandsTest() {
    evaluations_ = std::make_unique<Evaluations>(
        Evaluations::Options{.poke = [this](const std::string& job) { poked_.push_back(job); },
                             .retain = [this](const std::string& id) { retained_.push_back(id); }},
        *store_);
  }
  // jobs/a with the checkpoint step-10, and a request to evaluate that.
  std::string Prepare() {
    AddJob(*store_, "a", dir_ / "runs/a");
    AddCheckpoint("jobs/a", "step-10", 10);
    return Request(R"(model: "jobs/a/checkpoints/step-10" suite: "s")");
  }
  std::string Request(const std::string& text) {
    auto made = evaluations_->Request(FromText<v1::RequestEvaluationRequest>(text), "unix:");
    EXPECT_TRUE(made.ok()) << made.status();
    return made.ok() ? made->name() : "";
  }
  absl::Status TryRequest(const std::string& text) {
    return evaluations_->Request(FromText<v1::RequestEvaluationRequest>(text), "unix:").status();
  }
  v1::LeaseEvaluationResponse Lease(const std::string& text = R"(suites: "s" evaluator: "e")") {
    const auto request = FromText<v1::LeaseEvaluationRequest>(text);
    EXPECT_OK(Evaluations::Check(request));
    auto leased = evaluations_->Lease(request, "unix:");
    EXPECT_TRUE(leased.ok()) << leased.status();
    return leased.ok() ? *leased : v1::LeaseEvaluationResponse();
  }
  absl::StatusOr<Evaluation> Renew(const std::string& name, const std::string& lease,
                                   const std::string& rest = "") {
    auto request = FromText<v1::RenewEvaluationRequest>(rest);
    request.set_name(name);
    request.set_lease(lease);
    return evaluations_->Renew(request);
  }
  absl::StatusOr<Evaluation> Report(const std::string& name, const std::string& lease,
                                    const std::string& rest) {
    auto request = FromText<v1::ReportEvaluationRequest>(rest);
    request.set_name(name);
    request.set_lease(lease);
    return evaluations_->Report(request, "unix:");
  }
  absl::StatusOr<Evaluation> Cancel(const std::string& name, const std::string& rest = "") {
    auto request = FromText<v1::CancelEvaluationRequest>(rest);
    request.set_name(name);
    return evaluations_->Cancel(request, "unix:");
  }
  std::vector<std::string> Audit() {
    std::vector<std::string> rows;
    EXPECT_OK(store_->Read([&](Connection& db) {
      Query query(db, "SELECT method || ' ' || resource FROM audit ORDER BY seq");
      while (query.Step()) rows.emplace_back(query.Text(0));
      return query.status();
    }));
    return rows;
  }
  std::vector<std::string> States() {
    std::vector<std::string> states;
    for (const v1::Event& event : recorder_.Events()) {
      if (event.has_remote_eval())
        states.push_back(Evaluation::State_Name(event.remote_eval().evaluation().state()));
    }
    return states;
  }

  std::vector<std::string> retained_;
  std::unique_ptr<Evaluations> evaluations_;
};

constexpr char kResult[] = R"(metrics {name: "acc" value: 0.5 sample_count: 10})";

TEST_F(EvaluationCommandsTest, AnEvaluationGoesFromRequestToResult) {
  const std::string name = Prepare();
  EXPECT_EQ(name, "jobs/a/evaluations/s-step-10");
  const v1::LeaseEvaluationResponse leased = Lease();
  EXPECT_EQ(leased.evaluation().name(), name);
  EXPECT_EQ(leased.evaluation().evaluator(), "e");
  EXPECT_EQ(leased.evaluation().state(), Evaluation::LEASED);
  EXPECT_EQ(leased.path(), dir_ / "step-10");
  EXPECT_FALSE(Lease().has_evaluation()) << "it is leased";
  EXPECT_OK(Renew(name, leased.lease()).status());
  const auto ended = Report(name, leased.lease(), std::string(kResult) + R"( artifacts: "u")");
  ASSERT_OK(ended.status());
  EXPECT_EQ(ended->state(), Evaluation::COMPLETED);
  EXPECT_EQ(ended->metrics(0).value(), 0.5);
  EXPECT_TRUE(ended->has_end_time());
  EXPECT_THAT(States(), ElementsAre("TRIGGERED", "LEASED", "COMPLETED"));
  EXPECT_THAT(Audit(), ElementsAre("Evaluations.RequestEvaluation jobs/a/checkpoints/step-10",
                                   "Evaluations.LeaseEvaluation jobs/a",
                                   "Evaluations.ReportEvaluation " + name));
  EXPECT_THAT(retained_, ElementsAre("a"));
}

TEST_F(EvaluationCommandsTest, ALostLeaseIsRefusedAndTheNewOneCounts) {
  const std::string name = Prepare();
  const std::string first = Lease(R"(suites: "s" lease_duration {seconds: 10})").lease();
  clock_.Advance(absl::Seconds(10));
  // It was not given again.
  EXPECT_OK(Renew(name, first, "lease_duration {seconds: 10}").status());
  clock_.Advance(absl::Seconds(10));
  const std::string second = Lease().lease();
  EXPECT_NE(second, first);
  EXPECT_EQ(Reason(Renew(name, first).status()), "LEASE_LOST");
  EXPECT_TRUE(absl::IsAborted(Report(name, first, kResult).status()));
  EXPECT_EQ(Reason(Report(name, "", kResult).status()), "LEASE_LOST");
  EXPECT_OK(Report(name, second, kResult).status());
  EXPECT_EQ(Reason(Renew(name, second).status()), "EVALUATION_ENDED");
}

TEST_F(EvaluationCommandsTest, TheSameReportAgainIsTheSameAnswer) {
  const std::string name = Prepare();
  const std::string lease = Lease().lease();
  const auto first = Report(name, lease, kResult);
  ASSERT_OK(first.status());
  const size_t audits = Audit().size();
  const auto again = Report(name, lease, kResult);
  ASSERT_OK(again.status());
  EXPECT_EQ(again->SerializeAsString(), first->SerializeAsString());
  EXPECT_EQ(Audit().size(), audits);
  const absl::Status other = Report(name, lease, R"(metrics {name: "acc" value: 0.6})").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(other));
  EXPECT_EQ(Reason(other), "EVALUATION_ENDED");
  EXPECT_FALSE(Report(name, lease, R"(error: "e")").ok());
  EXPECT_THAT(States(), ElementsAre("TRIGGERED", "LEASED", "COMPLETED"));
}

TEST_F(EvaluationCommandsTest, AReportNeedsNoLeaseWhileNoneIsHeld) {
  const std::string name = Prepare();
  const auto failed = Report(name, "", R"(error: "out of memory\nat step 3")");
  ASSERT_OK(failed.status());
  EXPECT_EQ(failed->state(), Evaluation::FAILED);
  EXPECT_EQ(failed->error(), "out of memory\nat step 3");
  EXPECT_THAT(States(), ElementsAre("TRIGGERED", "FAILED"));
}

TEST_F(EvaluationCommandsTest, NothingIsAcceptedAfterTheDeadline) {
  const std::string name = Prepare();
  const std::string lease = Lease().lease();
  clock_.Advance(absl::Hours(24));
  EXPECT_FALSE(Lease().has_evaluation());
  for (const absl::Status& status :
       {Renew(name, lease).status(), Report(name, lease, kResult).status(), Cancel(name).status()})
    EXPECT_EQ(Reason(status), "EVALUATION_ENDED") << status;
  EXPECT_THAT(States(), ElementsAre("TRIGGERED", "LEASED")) << "the reconciler records it";
}

TEST_F(EvaluationCommandsTest, CancelsOnceWithItsReason) {
  const std::string name = Prepare();
  ASSERT_OK(Cancel(name, R"(reason: "wrong suite" request_id: "r")").status());
  const auto again = Cancel(name, R"(reason: "wrong suite" request_id: "r")");
  ASSERT_OK(again.status());
  EXPECT_EQ(again->error(), "wrong suite");
  EXPECT_OK(Cancel(name, R"(reason: "another")").status());
  EXPECT_EQ(Reason(Cancel(name, R"(request_id: "r")").status()), "REQUEST_ID_REUSED");
  EXPECT_THAT(States(), ElementsAre("TRIGGERED", "CANCELLED"));
}

TEST_F(EvaluationCommandsTest, ARequestIsIdempotentAndNumbersLaterOnes) {
  Prepare();
  const std::string again = R"(model: "jobs/a/checkpoints/step-10" suite: "s" request_id: "r")";
  const std::string second = Request(again);
  EXPECT_EQ(second, "jobs/a/evaluations/s-step-10.2");
  EXPECT_EQ(Request(again), second);
  EXPECT_EQ(Request(R"(model: "jobs/a/start" suite: "s")"), "jobs/a/evaluations/s-start");
}

TEST_F(EvaluationCommandsTest, ARequestTakesItsEntryAndWins) {
  AddJob(*store_, "a", dir_ / "runs/a",
         "evaluation: {remote: [{name: q, suite: s, params: {x: '1', y: '2'}, deadline: 2h}]}\n");
  Request(R"(model: "jobs/a/start" entry: "q" params {key: "y" value: "3"})");
  const Evaluation leased = Lease().evaluation();
  EXPECT_EQ(leased.name(), "jobs/a/evaluations/q-start");
  EXPECT_EQ(leased.params().at("x"), "1");
  EXPECT_EQ(leased.params().at("y"), "3");
  EXPECT_EQ(FromProto(leased.expire_time()) - FromProto(leased.create_time()), absl::Hours(2));
  EXPECT_EQ(leased.trigger(), Evaluation::MANUAL);
}

TEST_F(EvaluationCommandsTest, LeasesWhatTrainingStartedFromAndTheFinalModel) {
  JobRecord record = AddJob(*store_, "a", dir_ / "runs/a");
  Request(R"(model: "jobs/a/start" suite: "s")");
  EXPECT_EQ(Lease().path(), "/m");
  EXPECT_TRUE(absl::IsNotFound(TryRequest(R"(model: "jobs/a/final" suite: "s")")));
  SetState("a", v1::Job::SUCCEEDED);
  Request(R"(model: "jobs/a/final" suite: "s")");
  EXPECT_EQ(Lease().path(), dir_ / "runs/a/final");
}

TEST_F(EvaluationCommandsTest, RefusesModelsThatDoNotExist) {
  Prepare();
  EXPECT_EQ(Reason(TryRequest(R"(model: "jobs/b/start" suite: "s")")), "JOB_NOT_FOUND");
  EXPECT_EQ(Reason(TryRequest(R"(model: "jobs/a/checkpoints/none" suite: "s")")),
            "CHECKPOINT_NOT_FOUND");
  for (const char* model : {"", "jobs/a", "a/start", "jobs/a/end", "jobs/a/checkpoints/",
                            "jobs/a/checkpoints/../x", "jobs/A/start", "jobs/-/start"}) {
    const absl::Status status = TryRequest(absl::StrCat("model: \"", model, "\" suite: \"s\""));
    EXPECT_EQ(Reason(status), "INVALID_NAME") << model;
  }
  ASSERT_OK(store_->Change([](Transaction& t) -> absl::Status {
    auto row = FindCheckpoint(t.db(), "a", "step-10");
    (*row)->checkpoint.set_deleted(true);
    return StoreCheckpoint(t.db(), (*row)->checkpoint);
  }));
  EXPECT_EQ(Reason(TryRequest(R"(model: "jobs/a/checkpoints/step-10" suite: "s")")),
            "CHECKPOINT_DELETED");
}

TEST_F(EvaluationCommandsTest, RefusesNonsense) {
  const std::string name = Prepare();
  for (const char* text : {R"(model: "jobs/a/start")", R"(model: "jobs/a/start" suite: "S")",
                           R"(model: "jobs/a/start" entry: "none")",
                           R"(model: "jobs/a/start" suite: "s" deadline {seconds: 59})",
                           R"(model: "jobs/a/start" suite: "s" deadline {seconds: 2592001})",
                           R"(model: "jobs/a/start" suite: "s" deadline {seconds: -1})"})
    EXPECT_TRUE(absl::IsInvalidArgument(TryRequest(text))) << text;
  for (const char* text :
       {"", R"(suites: "")", R"(suites: "a b")", R"(suites: "s" wait {seconds: 3601})",
        R"(suites: "s" wait {seconds: -1})", R"(suites: "s" lease_duration {seconds: 9})",
        R"(suites: "s" lease_duration {seconds: 3601})", R"(suites: "s" evaluator: "a\x1b")"})
    EXPECT_FALSE(Evaluations::Check(FromText<v1::LeaseEvaluationRequest>(text)).ok()) << text;
  for (const char* text :
       {"", R"(error: "e" metrics {name: "a" value: 1})", R"(metrics {name: "" value: 1})",
        R"(metrics {name: "a b" value: 1})", R"(metrics {name: "a" value: nan})",
        R"(metrics {name: "a" value: inf})", R"(metrics {name: "a" sample_count: -1})",
        R"(metrics {name: "a" standard_error: -0.1})", R"(metrics {name: "a" standard_error: nan})",
        R"(metrics {name: "a"} metrics {name: "a"})", R"(error: "\x1b[31m")",
        R"(metrics {name: "a"} artifacts: "u\n")"})
    EXPECT_TRUE(absl::IsInvalidArgument(Report(name, "", text).status())) << text;
  for (const char* bad : {"", "jobs/a", "jobs/a/evaluations/", "a/evaluations/x", "jobs/a/start"})
    EXPECT_EQ(Reason(Renew(bad, "l").status()), "INVALID_NAME") << bad;
  EXPECT_EQ(Reason(Renew("jobs/a/evaluations/none", "l").status()), "EVALUATION_NOT_FOUND");
  EXPECT_THAT(States(), ElementsAre("TRIGGERED")) << "nothing of that changed anything";
}

TEST_F(EvaluationCommandsTest, LimitsOfAReport) {
  const std::string name = Prepare();
  v1::ReportEvaluationRequest request;
  request.set_name(name);
  for (int i = 0; i < 257; ++i) request.add_metrics()->set_name(absl::StrCat("m", i));
  EXPECT_THAT(evaluations_->Report(request, "").status().message(), HasSubstr("256"));
  request.mutable_metrics()->RemoveLast();
  for (int i = 0; i < 33; ++i) request.add_artifacts(std::string(2048, 'u'));
  EXPECT_THAT(evaluations_->Report(request, "").status().message(), HasSubstr("32"));
  request.mutable_artifacts()->RemoveLast();
  request.mutable_artifacts(0)->append("u");
  EXPECT_THAT(evaluations_->Report(request, "").status().message(), HasSubstr("2048"));
  request.mutable_artifacts(0)->pop_back();
  EXPECT_OK(evaluations_->Report(request, "").status());
}

TEST_F(EvaluationCommandsTest, ListsPagesNewestFirst) {
  Prepare();
  AddJob(*store_, "b", dir_ / "runs/b");
  for (int i = 0; i < 5; ++i) Request(R"(model: "jobs/b/start" suite: "s")");
  ASSERT_OK(Cancel("jobs/b/evaluations/s-start.3").status());
  const auto list = [&](const std::string& text) {
    auto request = FromText<v1::ListEvaluationsRequest>(text);
    std::vector<std::string> ids;
    do {
      auto page = evaluations_->List(request);
      EXPECT_TRUE(page.ok()) << page.status();
      if (!page.ok()) return ids;
      for (const Evaluation& e : page->evaluations()) ids.push_back(EvaluationId(e.name()));
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    return ids;
  };
  for (const char* size : {"", " page_size: 1", " page_size: 2", " page_size: 5"}) {
    EXPECT_THAT(list(std::string(R"(parent: "jobs/b")") + size),
                ElementsAre("s-start.5", "s-start.4", "s-start.3", "s-start.2", "s-start"));
    EXPECT_THAT(list(std::string(R"(parent: "jobs/b" states: CANCELLED)") + size),
                ElementsAre("s-start.3"));
    EXPECT_EQ(list(std::string(R"(parent: "jobs/-")") + size).size(), 6u);
  }
  EXPECT_FALSE(evaluations_->List(FromText<v1::ListEvaluationsRequest>("parent: 'jobs/c'")).ok());
  EXPECT_FALSE(evaluations_->List(FromText<v1::ListEvaluationsRequest>("parent: ''")).ok());
}

TEST_F(EvaluationCommandsTest, DeletingTheJobCancelsAndNothingIsOffered) {
  const std::string name = Prepare();
  SetState("a", v1::Job::SUCCEEDED);
  const std::string lease = Lease().lease();
  ASSERT_OK(jobs_->Delete(FromText<v1::DeleteJobRequest>("name: 'jobs/a'"), "").status());
  EXPECT_THAT(States(), ElementsAre("TRIGGERED", "LEASED", "CANCELLED"));
  EXPECT_EQ(Reason(Report(name, lease, kResult).status()), "EVALUATION_ENDED");
  EXPECT_EQ(Reason(TryRequest(R"(model: "jobs/a/start" suite: "s")")), "JOB_NOT_FOUND");
}

TEST_F(EvaluationCommandsTest, AnUpdateReplacesTheEntriesOfAJob) {
  const std::string job = Submit("evaluation: {remote: [{name: q, suite: s}]}\n").name();
  v1::UpdateJobRequest request;
  request.mutable_job()->set_name(job);
  auto* entry = request.mutable_job()->mutable_config()->mutable_evaluation()->add_remote();
  entry->set_name("r");
  entry->set_suite("t");
  request.mutable_update_mask()->add_paths("config.evaluation.remote");
  const auto updated = jobs_->Update(request, "");
  ASSERT_OK(updated.status());
  ASSERT_EQ(updated->config().evaluation().remote_size(), 1);
  EXPECT_EQ(updated->config().evaluation().remote(0).name(), "r");
  EXPECT_TRUE(updated->config().evaluation().remote(0).when().at_end()) << "with its defaults";
  entry->set_suite("not a suite");
  EXPECT_FALSE(jobs_->Update(request, "").ok());
}

}  // namespace
}  // namespace trainerd::server
