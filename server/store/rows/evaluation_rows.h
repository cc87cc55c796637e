// SPDX-License-Identifier: Apache-2.0
// Rows of the table evaluations. Each function uses the given connection: the writer's in a change,
// a reader's in a read. `now` is the time of Store::SteadyNow, as are the times of a record.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/sqlite.h"
#include "trainerd/v1/evaluation.pb.h"

namespace trainerd::server {

struct EvaluationRecord {
  int64_t number = 0;  // 0 = not stored yet
  v1::Evaluation evaluation;
  // Of evaluation.remote, or the suite of a request without one.
  std::string entry;
  absl::Time trigger_time;
  absl::Time deadline;
  // The newest lease; empty: none was given.
  std::string lease;
  absl::Time lease_end = absl::UnixEpoch();
};

// Errors: NotFound with reason EVALUATION_NOT_FOUND.
absl::StatusOr<EvaluationRecord> LoadEvaluation(Connection& db, const std::string& name);
// Inserts the row if number is 0, else updates it.
absl::Status StoreEvaluation(Connection& db, EvaluationRecord* record);

// Free name for an evaluation: `id`, or with .2, .3, … after it.
absl::StatusOr<std::string> FreeEvaluationId(Connection& db, std::string_view job_id,
                                             const std::string& id);

// The evaluation to lease: the oldest one on offer within the highest job priority. nullopt: none
// of these suites is on offer.
absl::StatusOr<std::optional<EvaluationRecord>> FirstOnOffer(Connection& db,
                                                             const std::vector<std::string>& suites,
                                                             absl::Time now);
// When the next lease expires.
absl::StatusOr<std::optional<absl::Time>> NextLeaseEnd(Connection& db, absl::Time now);
// The earliest deadline of the open evaluations.
absl::StatusOr<std::optional<absl::Time>> NextDeadline(Connection& db);

struct EvaluationQuery {
  // Empty = of all jobs.
  std::string job_id;
  std::vector<v1::Evaluation::State> states;  // empty = all
  int64_t before_number = 0;                  // only older ones; 0 = from the newest
};
// Calls `take` with each, newest first, until it returns false.
absl::Status ForEachEvaluation(Connection& db, const EvaluationQuery& query,
                               const std::function<bool(EvaluationRecord)>& take);

// Open evaluations whose deadline has passed, the earliest first.
absl::StatusOr<std::vector<EvaluationRecord>> ListExpired(Connection& db, absl::Time now,
                                                          int limit);
// Open evaluations of a job or of its models, the oldest first.
absl::StatusOr<std::vector<EvaluationRecord>> ListOpen(Connection& db, std::string_view job_id,
                                                       int limit);
// Whether an open evaluation of the job is required.
absl::StatusOr<bool> HasOpenRequired(Connection& db, std::string_view job_id);

// Names of the job's checkpoints that an open evaluation measures: retention keeps them.
absl::StatusOr<std::set<std::string>> CheckpointsInEvaluation(Connection& db,
                                                              std::string_view job_id);

// What an entry of evaluation.remote has triggered; requests do not count.
struct EntryTriggers {
  // The model was triggered.
  bool of_model = false;
  // Step of the newest trigger by every_steps on a checkpoint that is on the lineage.
  std::optional<int64_t> interval_step;
  // Of the newest trigger by every_steps or on_best.
  std::optional<absl::Time> gap_since;
};
absl::StatusOr<EntryTriggers> LoadEntryTriggers(Connection& db, std::string_view job_id,
                                                std::string_view entry, std::string_view model);

// Metrics that evaluators reported for an entry: those of the job up to `evaluation`'s step, and
// those of any evaluation of `model`. Without those of `evaluation` itself.
absl::StatusOr<std::vector<v1::Measurement>> EarlierResults(Connection& db,
                                                            const EvaluationRecord& evaluation);
absl::StatusOr<std::vector<v1::Measurement>> ModelResults(Connection& db, std::string_view model,
                                                          const EvaluationRecord& evaluation);

// After a restart of the machine, what is left of a wait is known by the system's clock only: no
// wait becomes longer than it was at first.
absl::Status LimitEvaluationTimes(Connection& db, absl::Time now, absl::Duration longest_lease);

}  // namespace trainerd::server
