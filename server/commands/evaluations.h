// SPDX-License-Identifier: Apache-2.0
// The commands and queries of remote evaluation. Each change is durable before the reply.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/store/caller.h"
#include "server/store/store.h"
#include "trainerd/v1/evaluation.pb.h"

namespace trainerd::server {

// Thread-safety: all methods may be called from any thread.
class Evaluations {
 public:
  struct Options {
    // Called with "jobs/{id}" once an evaluation of the job has durably ended.
    std::function<void(const std::string& job)> poke = [](const std::string&) {};
    // Called with the id of the job whose checkpoint an ended evaluation no longer holds.
    std::function<void(const std::string& job_id)> retain = [](const std::string&) {};
  };
  Evaluations(Options options, Store& store) : options_(std::move(options)), store_(store) {}

  // The limits of a request. Errors: InvalidArgument.
  static absl::Status Check(const v1::LeaseEvaluationRequest& request);
  // Leases an evaluation that is on offer now. The response has none if there is none. The request
  // has passed Check.
  absl::StatusOr<v1::LeaseEvaluationResponse> Lease(const v1::LeaseEvaluationRequest& request,
                                                    const Caller& caller);
  // No audit row: it has no effect but on the lease.
  absl::StatusOr<v1::Evaluation> Renew(const v1::RenewEvaluationRequest& request);
  absl::StatusOr<v1::Evaluation> Report(const v1::ReportEvaluationRequest& request,
                                        const Caller& caller);
  absl::StatusOr<v1::ListEvaluationsResponse> List(const v1::ListEvaluationsRequest& request);
  absl::StatusOr<v1::Evaluation> Request(const v1::RequestEvaluationRequest& request,
                                         const Caller& caller);
  absl::StatusOr<v1::Evaluation> Cancel(const v1::CancelEvaluationRequest& request,
                                        const Caller& caller);

 private:
  absl::Status FillModel(v1::LeaseEvaluationResponse* response);
  void Ended(const v1::Evaluation& evaluation);

  const Options options_;
  Store& store_;
};

}  // namespace trainerd::server
