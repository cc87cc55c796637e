// SPDX-License-Identifier: Apache-2.0
#include "server/api/evaluation_service.h"

#include <atomic>
#include <utility>

#include "server/api/status.h"

namespace trainerd::server {
namespace {

class WaitingLease : public grpc::ServerUnaryReactor, public LeaseCall {
 public:
  WaitingLease(LeaseWaiters& waiters, StreamLimit& limit, v1::LeaseEvaluationResponse* response)
      : waiters_(waiters), limit_(limit), response_(response) {}
  ~WaitingLease() override {
    if (entered_) limit_.Leave();
  }

  void Begin(const v1::LeaseEvaluationRequest& request, const std::string& peer) {
    if (const absl::Status checked = Evaluations::Check(request); !checked.ok())
      return Finish(checked);
    const absl::Status entered = limit_.Enter();
    entered_ = entered.ok();
    if (!entered_) return Finish(entered);
    waiters_.Add(this, request, peer);
    added_ = true;
    // A cancellation before this point did not find the call.
    if (cancelled_) waiters_.Cancel(this);
  }

  void Finish(absl::StatusOr<v1::LeaseEvaluationResponse> response) override {
    if (response.ok()) *response_ = *std::move(response);
    grpc::ServerUnaryReactor::Finish(ToGrpc(response.status()));
  }
  void OnCancel() override {
    cancelled_ = true;
    if (added_) waiters_.Cancel(this);
  }
  void OnDone() override { delete this; }

 private:
  LeaseWaiters& waiters_;
  StreamLimit& limit_;
  v1::LeaseEvaluationResponse* const response_;
  bool entered_ = false;
  std::atomic<bool> added_{false};
  std::atomic<bool> cancelled_{false};
};

}  // namespace

grpc::ServerUnaryReactor* EvaluationService::LeaseEvaluation(
    grpc::CallbackServerContext* context, const v1::LeaseEvaluationRequest* request,
    v1::LeaseEvaluationResponse* response) {
  auto* call = new WaitingLease(waiters_, limit_, response);
  call->Begin(*request, context->peer());
  return call;
}

grpc::Status EvaluationService::RenewEvaluation(grpc::ServerContext*,
                                                const v1::RenewEvaluationRequest* request,
                                                v1::Evaluation* response) {
  return Reply(evaluations_.Renew(*request), response);
}

grpc::Status EvaluationService::ReportEvaluation(grpc::ServerContext* context,
                                                 const v1::ReportEvaluationRequest* request,
                                                 v1::Evaluation* response) {
  return Reply(evaluations_.Report(*request, context->peer()), response);
}

grpc::Status EvaluationService::ListEvaluations(grpc::ServerContext*,
                                                const v1::ListEvaluationsRequest* request,
                                                v1::ListEvaluationsResponse* response) {
  return Reply(evaluations_.List(*request), response);
}

grpc::Status EvaluationService::RequestEvaluation(grpc::ServerContext* context,
                                                  const v1::RequestEvaluationRequest* request,
                                                  v1::Evaluation* response) {
  return Reply(evaluations_.Request(*request, context->peer()), response);
}

grpc::Status EvaluationService::CancelEvaluation(grpc::ServerContext* context,
                                                 const v1::CancelEvaluationRequest* request,
                                                 v1::Evaluation* response) {
  return Reply(evaluations_.Cancel(*request, context->peer()), response);
}

}  // namespace trainerd::server
