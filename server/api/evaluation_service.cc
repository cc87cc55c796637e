// SPDX-License-Identifier: Apache-2.0
#include "server/api/evaluation_service.h"

#include <atomic>
#include <utility>

#include "server/api/access/serve.h"
#include "server/api/status.h"

namespace trainerd::server {
namespace {

class WaitingLease : public grpc::ServerUnaryReactor, public LeaseCall, public OpenCall {
 public:
  WaitingLease(LeaseWaiters& waiters, StreamLimit& limit, v1::LeaseEvaluationResponse* response)
      : waiters_(waiters), limit_(limit), response_(response) {}

  void Begin(const v1::LeaseEvaluationRequest& request, const Identity& identity) {
    if (const absl::Status checked = Evaluations::Check(request); !checked.ok())
      return Finish(checked);
    const absl::Status entered = limit_.Enter(this, identity.token);
    if (!entered.ok()) return Finish(entered);
    waiters_.Add(this, request, identity.caller);
    added_ = true;
    // A cancellation before this point did not find the call.
    if (cancelled_) waiters_.Cancel(this);
  }

  void Finish(absl::StatusOr<v1::LeaseEvaluationResponse> response) override {
    const absl::Status status =
        absl::IsCancelled(response.status()) && revoked_ ? RevokedError() : response.status();
    if (response.ok()) *response_ = *std::move(response);
    grpc::ServerUnaryReactor::Finish(ToGrpc(status));
  }
  void OnCancel() override {
    cancelled_ = true;
    if (added_) waiters_.Cancel(this);
  }
  void Revoke() override {
    revoked_ = true;
    OnCancel();
  }
  void OnDone() override {
    limit_.Leave(this);
    delete this;
  }
  void Refuse(const absl::Status& status) { grpc::ServerUnaryReactor::Finish(ToGrpc(status)); }

 private:
  LeaseWaiters& waiters_;
  StreamLimit& limit_;
  v1::LeaseEvaluationResponse* const response_;
  std::atomic<bool> added_{false};
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> revoked_{false};
};

}  // namespace

grpc::ServerUnaryReactor* EvaluationService::LeaseEvaluation(
    grpc::CallbackServerContext* context, const v1::LeaseEvaluationRequest* request,
    v1::LeaseEvaluationResponse* response) {
  auto* call = new WaitingLease(waiters_, limit_, response);
  const absl::StatusOr<Identity> identity = access_.Check(*context, *request);
  if (identity.ok()) {
    call->Begin(*request, *identity);
  } else {
    call->Refuse(identity.status());
  }
  return call;
}

grpc::Status EvaluationService::RenewEvaluation(grpc::ServerContext* context,
                                                const v1::RenewEvaluationRequest* request,
                                                v1::Evaluation* response) {
  return Serve(access_, context, request, response,
               [&](const Caller&) { return evaluations_.Renew(*request); });
}

grpc::Status EvaluationService::ReportEvaluation(grpc::ServerContext* context,
                                                 const v1::ReportEvaluationRequest* request,
                                                 v1::Evaluation* response) {
  return Serve(access_, context, request, response,
               [&](const Caller& caller) { return evaluations_.Report(*request, caller); });
}

grpc::Status EvaluationService::ListEvaluations(grpc::ServerContext* context,
                                                const v1::ListEvaluationsRequest* request,
                                                v1::ListEvaluationsResponse* response) {
  return Serve(access_, context, request, response,
               [&](const Caller&) { return evaluations_.List(*request); });
}

grpc::Status EvaluationService::RequestEvaluation(grpc::ServerContext* context,
                                                  const v1::RequestEvaluationRequest* request,
                                                  v1::Evaluation* response) {
  return Serve(access_, context, request, response,
               [&](const Caller& caller) { return evaluations_.Request(*request, caller); });
}

grpc::Status EvaluationService::CancelEvaluation(grpc::ServerContext* context,
                                                 const v1::CancelEvaluationRequest* request,
                                                 v1::Evaluation* response) {
  return Serve(access_, context, request, response,
               [&](const Caller& caller) { return evaluations_.Cancel(*request, caller); });
}

}  // namespace trainerd::server
