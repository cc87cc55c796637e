// SPDX-License-Identifier: Apache-2.0
// The service Evaluations. LeaseEvaluation waits without a thread; the other calls are unary.
#pragma once

#include <grpcpp/grpcpp.h>

#include "absl/status/status.h"
#include "server/api/streams.h"
#include "server/api/watch_stream.h"
#include "server/commands/evaluations.h"
#include "server/commands/lease_waiters.h"
#include "server/events/fan_out.h"
#include "server/store/store.h"
#include "trainerd/v1/evaluation.grpc.pb.h"

namespace trainerd::server {

class EvaluationService final
    : public v1::Evaluations::WithCallbackMethod_LeaseEvaluation<v1::Evaluations::Service> {
 public:
  // All outlive the service.
  EvaluationService(Evaluations& evaluations, const WatchParts& watch)
      : evaluations_(evaluations),
        limit_(watch.limit),
        access_(watch.access),
        waiters_(evaluations, watch.store, watch.fan_out) {}

  // Ends the calls that wait.
  void Drain(const absl::Status& status) { waiters_.Drain(status); }

  grpc::ServerUnaryReactor* LeaseEvaluation(grpc::CallbackServerContext* context,
                                            const v1::LeaseEvaluationRequest* request,
                                            v1::LeaseEvaluationResponse* response) override;
  grpc::Status RenewEvaluation(grpc::ServerContext* context,
                               const v1::RenewEvaluationRequest* request,
                               v1::Evaluation* response) override;
  grpc::Status ReportEvaluation(grpc::ServerContext* context,
                                const v1::ReportEvaluationRequest* request,
                                v1::Evaluation* response) override;
  grpc::Status ListEvaluations(grpc::ServerContext* context,
                               const v1::ListEvaluationsRequest* request,
                               v1::ListEvaluationsResponse* response) override;
  grpc::Status RequestEvaluation(grpc::ServerContext* context,
                                 const v1::RequestEvaluationRequest* request,
                                 v1::Evaluation* response) override;
  grpc::Status CancelEvaluation(grpc::ServerContext* context,
                                const v1::CancelEvaluationRequest* request,
                                v1::Evaluation* response) override;

 private:
  Evaluations& evaluations_;
  StreamLimit& limit_;
  Access& access_;
  LeaseWaiters waiters_;
};

}  // namespace trainerd::server
