// SPDX-License-Identifier: Apache-2.0
// The only way to make or change a remote evaluation. Each change of its state appends one
// remote_eval event in the same transaction, and the end of the last required evaluation of a job
// that awaits it ends the job in that transaction, too.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/ledger/evaluations/evaluation_state.h"
#include "server/ledger/evaluations/trigger.h"
#include "server/ledger/transition.h"
#include "server/store/rows/evaluation_rows.h"
#include "server/store/rows/job_rows.h"
#include "server/store/store.h"
#include "server/store/writer.h"
#include "trainerd/v1/evaluation.pb.h"

namespace trainerd::server {

inline constexpr absl::Duration kDefaultLease = absl::Seconds(60);
inline constexpr absl::Duration kMinLease = absl::Seconds(10);
inline constexpr absl::Duration kMaxLease = absl::Hours(1);

EvaluationState StateOf(const EvaluationRecord& record);

struct NewEvaluation {
  // jobs/JOB
  std::string job;
  // Of evaluation.remote, or the suite of a request without one.
  std::string entry;
  std::string model;
  int64_t step = 0;
  v1::Evaluation::Trigger trigger = v1::Evaluation::TRIGGER_UNSPECIFIED;
  std::string suite;
  std::map<std::string, std::string> params;
  absl::Duration deadline;
  bool required = false;
};
// Stores it, with its event TRIGGERED.
absl::StatusOr<EvaluationRecord> AddEvaluation(Transaction& transaction, NewEvaluation evaluation);

// Lets the entries of config.evaluation.remote see what has happened to the job. `model` is what
// they would evaluate; point.now is set here.
absl::Status TriggerEvaluations(Transaction& transaction, const JobRecord& record,
                                const std::string& model, TriggerPoint point);

// The same for the job's best checkpoint if it was another one, `before`, until now.
absl::Status TriggerIfBestChanged(Transaction& transaction, const JobRecord& record,
                                  const std::string& before);

// What training starts from: Job.base, else jobs/JOB/start.
std::string StartModel(const v1::Job& job);

struct Lease {
  std::string id;
  // As it names itself.
  std::string evaluator;
  absl::Duration duration;
};
// The first lease also changes the state.
absl::Status GiveLease(Transaction& transaction, const Lease& lease, EvaluationRecord* record);
// Extends the newest lease: it ends `duration` from now.
absl::Status RenewLease(Transaction& transaction, absl::Duration duration,
                        EvaluationRecord* record);

// Moves an open evaluation to a terminal state. `record->evaluation` already holds the result or
// the error.
absl::Status EndEvaluation(Transaction& transaction, v1::Evaluation::State state,
                           EvaluationRecord* record);

// Ends evaluations whose deadline has passed, at most so many. Returns the names of their models;
// call again while there are `limit`.
absl::StatusOr<std::vector<std::string>> ExpireEvaluations(Transaction& transaction, int limit);

// Cancels open evaluations of a job that is being deleted and of its models, at most
// kCancelledAtOnce. Returns how many; call again while it returns so many.
inline constexpr int kCancelledAtOnce = 64;
absl::StatusOr<int> CancelEvaluations(Transaction& transaction, const std::string& job_id);
// All of them, in as many transactions as necessary.
absl::Status CancelAllEvaluations(Store& store, const std::string& job_id);

// The job has trained to its end and waits for required evaluations of its final model: it is
// RUNNING without attempt and device. Stores the record.
absl::Status BeginEvaluationWait(Transaction& transaction, JobRecord* record);

// Ends that wait and the job with it. Stores the record.
absl::Status EndEvaluationWait(Transaction& transaction, Transition end, JobRecord* record);

}  // namespace trainerd::server
