// SPDX-License-Identifier: Apache-2.0
// The service Evaluations over gRPC: calls that wait for an evaluation, and how they end.
#include <chrono>
#include <future>
#include <set>

#include "tests/server/api/api_fixture.h"
#include "trainerd/v1/evaluation.grpc.pb.h"

namespace trainerd::server {
namespace {

class EvaluationsApiTest : public ApiTest {
 protected:
  void Start() {
    ASSERT_OK(StartServer("s"));
    Connect("s");
    evaluations_ = v1::Evaluations::NewStub(channel_);
    EXPECT_TRUE(Submit("a").ok());
  }
  std::string Request(const std::string& suite) {
    grpc::ClientContext context;
    v1::RequestEvaluationRequest request;
    request.set_model("jobs/a/start");
    request.set_suite(suite);
    v1::Evaluation evaluation;
    const grpc::Status status = evaluations_->RequestEvaluation(&context, request, &evaluation);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return evaluation.name();
  }
  struct Answer {
    grpc::Status status;
    v1::LeaseEvaluationResponse response;
  };
  // Waits at most `seconds` for one of suite `suite`.
  Answer Lease(const std::string& suite, int seconds, grpc::ClientContext* context) {
    v1::LeaseEvaluationRequest request;
    request.add_suites(suite);
    request.mutable_wait()->set_seconds(seconds);
    Answer answer;
    answer.status = evaluations_->LeaseEvaluation(context, request, &answer.response);
    return answer;
  }
  Answer Lease(const std::string& suite, int seconds) {
    grpc::ClientContext context;
    return Lease(suite, seconds, &context);
  }
  std::future<Answer> LeaseLater(const std::string& suite, int seconds,
                                 grpc::ClientContext* context) {
    return std::async(std::launch::async, [=, this] { return Lease(suite, seconds, context); });
  }
  bool IsFull() {
    return Lease("none", 0).status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED;
  }

  std::unique_ptr<v1::Evaluations::Stub> evaluations_;
};

constexpr int kLong = 600;

TEST_F(EvaluationsApiTest, AWaitingCallGetsWhatIsTriggered) {
  Start();
  EXPECT_FALSE(Lease("s", 0).response.has_evaluation());
  grpc::ClientContext context;
  std::future<Answer> waiting = LeaseLater("s", kLong, &context);
  Request("other");
  const std::string name = Request("s");
  const Answer answer = waiting.get();
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.response.evaluation().name(), name);
  EXPECT_EQ(answer.response.path(), dir_ / "model");
  EXPECT_FALSE(answer.response.lease().empty());
}

TEST_F(EvaluationsApiTest, EachEvaluationGoesToOneOfManyWaitingCalls) {
  Start();
  constexpr int kCalls = 20;
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::future<Answer>> waiting;
  for (int i = 0; i < kCalls; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    waiting.push_back(LeaseLater("s", kLong, contexts.back().get()));
  }
  for (int i = 0; i < kCalls; ++i) Request("s");
  std::set<std::string> names, leases;
  for (std::future<Answer>& call : waiting) {
    const Answer answer = call.get();
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    names.insert(answer.response.evaluation().name());
    leases.insert(answer.response.lease());
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(kCalls));
  EXPECT_EQ(leases.size(), static_cast<size_t>(kCalls));
}

TEST_F(EvaluationsApiTest, AnswersWithoutOneAtTheEndOfTheWait) {
  Start();
  const Answer answer = Lease("s", 1);
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_FALSE(answer.response.has_evaluation());
}

TEST_F(EvaluationsApiTest, AWaitingCallCountsAsAWatcherUntilItIsCancelled) {
  settings_.set_max_watchers(1);
  Start();
  std::unique_ptr<grpc::ClientContext> context;
  std::future<Answer> waiting;
  // A question whether the limit is reached can take the only place itself.
  do {
    context = std::make_unique<grpc::ClientContext>();
    waiting = LeaseLater("s", kLong, context.get());
    while (waiting.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready &&
           !IsFull()) {
    }
  } while (waiting.wait_for(std::chrono::milliseconds(50)) == std::future_status::ready);
  context->TryCancel();
  EXPECT_EQ(waiting.get().status.error_code(), grpc::StatusCode::CANCELLED);
  // A call that has disconnected takes no evaluation.
  while (!Lease("s", 0).status.ok()) absl::SleepFor(absl::Milliseconds(1));
  const std::string name = Request("s");
  EXPECT_EQ(Lease("s", 0).response.evaluation().name(), name);
}

TEST_F(EvaluationsApiTest, ShutdownEndsWaitingCalls) {
  Start();
  grpc::ClientContext context;
  std::future<Answer> waiting = LeaseLater("s", kLong, &context);
  server_.reset();
  const grpc::StatusCode code = waiting.get().status.error_code();
  EXPECT_EQ(code, grpc::StatusCode::UNAVAILABLE);
}

TEST_F(EvaluationsApiTest, RefusesARequestThatCannotWork) {
  Start();
  EXPECT_EQ(Lease("not a suite", 0).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Lease("s", 3601).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

}  // namespace
}  // namespace trainerd::server
