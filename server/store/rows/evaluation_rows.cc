// SPDX-License-Identifier: Apache-2.0
#include "server/store/rows/evaluation_rows.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/names.h"
#include "server/store/errors.h"
#include "server/store/rows/job_rows.h"

namespace trainerd::server {
namespace {

// The queries below, and the partial indexes of store/schema/0006_evaluations.sql, have the numbers
// of the open states and of the triggers.
static_assert(v1::Evaluation::TRIGGERED == 1 && v1::Evaluation::LEASED == 2 &&
              v1::Evaluation::COMPLETED == 3 && v1::Evaluation::INTERVAL == 1 &&
              v1::Evaluation::BEST == 2 && v1::Evaluation::MANUAL == 5);

#define TRAINERD_EVALUATION_COLUMNS \
  "evaluations.number, entry, trigger_time, deadline, lease, lease_end, evaluation"

absl::StatusOr<v1::Evaluation> Parse(std::string_view bytes, int64_t number) {
  v1::Evaluation evaluation;
  if (evaluation.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return evaluation;
  return absl::DataLossError(absl::StrCat("evaluation row ", number, " does not parse"));
}

absl::StatusOr<EvaluationRecord> ReadRow(const Query& query) {
  EvaluationRecord record{.number = query.Int(0), .evaluation = {}};
  record.entry = query.Text(1);
  record.trigger_time = absl::FromUnixMicros(query.Int(2));
  record.deadline = absl::FromUnixMicros(query.Int(3));
  record.lease = query.Text(4);
  record.lease_end = absl::FromUnixMicros(query.Int(5));
  ASSIGN_OR_RETURN(record.evaluation, Parse(query.Blob(6), record.number));
  return record;
}

absl::StatusOr<std::vector<EvaluationRecord>> ReadRows(Query& query) {
  std::vector<EvaluationRecord> records;
  while (query.Step()) {
    ASSIGN_OR_RETURN(EvaluationRecord record, ReadRow(query));
    records.push_back(std::move(record));
  }
  RETURN_IF_ERROR(query.status());
  return records;
}

// The time in the first column of the only row; nullopt for NULL or 0.
absl::StatusOr<std::optional<absl::Time>> ReadTime(Query& query) {
  const bool row = query.Step();
  RETURN_IF_ERROR(query.status());
  if (!row || query.Int(0) == 0) return std::optional<absl::Time>();
  return std::optional(absl::FromUnixMicros(query.Int(0)));
}

absl::StatusOr<std::vector<v1::Measurement>> ReadMetrics(Query& query) {
  std::vector<v1::Measurement> metrics;
  while (query.Step()) {
    ASSIGN_OR_RETURN(const v1::Evaluation evaluation, Parse(query.Blob(1), query.Int(0)));
    metrics.insert(metrics.end(), evaluation.metrics().begin(), evaluation.metrics().end());
  }
  RETURN_IF_ERROR(query.status());
  return metrics;
}

bool HasState(const EvaluationQuery& filter, v1::Evaluation::State state) {
  return filter.states.empty() ||
         std::find(filter.states.begin(), filter.states.end(), state) != filter.states.end();
}

absl::Status TakeRows(const EvaluationQuery& filter,
                      const std::function<bool(EvaluationRecord)>& take, Query& query) {
  while (query.Step()) {
    if (!HasState(filter, static_cast<v1::Evaluation::State>(query.Int(7)))) continue;
    ASSIGN_OR_RETURN(EvaluationRecord record, ReadRow(query));
    if (!take(std::move(record))) return absl::OkStatus();
  }
  return query.status();
}

}  // namespace

absl::StatusOr<EvaluationRecord> LoadEvaluation(Connection& db, const std::string& name) {
  Query query(db,
              "SELECT " TRAINERD_EVALUATION_COLUMNS " FROM evaluations WHERE job = ? AND id = ?");
  if (query.Bind(JobId(name)).Bind(EvaluationId(name)).Step()) return ReadRow(query);
  RETURN_IF_ERROR(query.status());
  return ErrorWithReason(absl::StatusCode::kNotFound, "EVALUATION_NOT_FOUND",
                         absl::StrCat(name, " does not exist; `trainctl evaluations ", JobId(name),
                                      "` lists those of ", "the job"));
}

absl::Status StoreEvaluation(Connection& db, EvaluationRecord* record) {
  const v1::Evaluation& evaluation = record->evaluation;
  if (record->number != 0) {
    Query query(db,
                "UPDATE evaluations SET state = ?, lease = ?, lease_end = ?, evaluation = ? WHERE "
                "number = ?");
    return query.Bind(evaluation.state())
        .Bind(record->lease)
        .Bind(absl::ToUnixMicros(record->lease_end))
        .BindBlob(evaluation.SerializeAsString())
        .Bind(record->number)
        .Run();
  }
  Query query(db,
              "INSERT INTO evaluations (job, id, entry, model, suite, step, state, cause, "
              "required, trigger_time, deadline, allowed, lease, lease_end, evaluation) VALUES "
              "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
  RETURN_IF_ERROR(query.Bind(JobId(evaluation.job()))
                      .Bind(EvaluationId(evaluation.name()))
                      .Bind(record->entry)
                      .Bind(evaluation.model())
                      .Bind(evaluation.suite())
                      .Bind(evaluation.step())
                      .Bind(evaluation.state())
                      .Bind(evaluation.trigger())
                      .Bind(evaluation.required() ? 1 : 0)
                      .Bind(absl::ToUnixMicros(record->trigger_time))
                      .Bind(absl::ToUnixMicros(record->deadline))
                      .Bind(absl::ToInt64Microseconds(record->deadline - record->trigger_time))
                      .Bind(record->lease)
                      .Bind(absl::ToUnixMicros(record->lease_end))
                      .BindBlob(evaluation.SerializeAsString())
                      .Run());
  record->number = db.last_insert_rowid();
  return absl::OkStatus();
}

absl::StatusOr<std::string> FreeEvaluationId(Connection& db, std::string_view job_id,
                                             const std::string& id) {
  for (int64_t number = 1;; ++number) {
    const std::string candidate = number == 1 ? id : absl::StrCat(id, ".", number);
    Query query(db, "SELECT 1 FROM evaluations WHERE job = ? AND id = ?");
    const bool taken = query.Bind(job_id).Bind(candidate).Step();
    RETURN_IF_ERROR(query.status());
    if (!taken) return candidate;
  }
}

absl::StatusOr<std::optional<EvaluationRecord>> FirstOnOffer(Connection& db,
                                                             const std::vector<std::string>& suites,
                                                             absl::Time now) {
  std::optional<EvaluationRecord> first;
  int64_t first_priority = 0;
  for (const std::string& suite : suites) {
    Query query(db, "SELECT " TRAINERD_EVALUATION_COLUMNS
                    ", jobs.priority FROM evaluations JOIN jobs ON jobs.id = evaluations.job WHERE "
                    "evaluations.state IN (1, 2) AND suite = ?1 AND lease_end <= ?2 AND "
                    "deadline > ?2 AND jobs.deleting = 0 ORDER BY jobs.priority DESC, "
                    "evaluations.number LIMIT 1");
    const bool row = query.Bind(suite).Bind(absl::ToUnixMicros(now)).Step();
    RETURN_IF_ERROR(query.status());
    if (!row) continue;
    const int64_t priority = query.Int(7);
    const bool before = !first.has_value() || priority > first_priority ||
                        (priority == first_priority && query.Int(0) < first->number);
    if (!before) continue;
    ASSIGN_OR_RETURN(first, ReadRow(query));
    first_priority = priority;
  }
  return first;
}

absl::StatusOr<std::optional<absl::Time>> NextLeaseEnd(Connection& db, absl::Time now) {
  Query query(db, "SELECT min(lease_end) FROM evaluations WHERE state IN (1, 2) AND lease_end > ?");
  query.Bind(absl::ToUnixMicros(now));
  return ReadTime(query);
}

absl::StatusOr<std::optional<absl::Time>> NextDeadline(Connection& db) {
  Query query(db, "SELECT min(deadline) FROM evaluations WHERE state IN (1, 2)");
  return ReadTime(query);
}

absl::Status ForEachEvaluation(Connection& db, const EvaluationQuery& filter,
                               const std::function<bool(EvaluationRecord)>& take) {
  const int64_t before = filter.before_number == 0 ? INT64_MAX : filter.before_number;
  if (filter.job_id.empty()) {
    Query query(db, "SELECT " TRAINERD_EVALUATION_COLUMNS
                    ", state FROM evaluations WHERE number < ? ORDER BY number DESC");
    query.Bind(before);
    return TakeRows(filter, take, query);
  }
  Query query(db, "SELECT " TRAINERD_EVALUATION_COLUMNS
                  ", state FROM evaluations WHERE job = ? AND number < ? ORDER BY number DESC");
  query.Bind(filter.job_id).Bind(before);
  return TakeRows(filter, take, query);
}

absl::StatusOr<std::vector<EvaluationRecord>> ListExpired(Connection& db, absl::Time now,
                                                          int limit) {
  Query query(db, "SELECT " TRAINERD_EVALUATION_COLUMNS
                  " FROM evaluations WHERE state IN (1, 2) AND deadline <= ? ORDER BY deadline "
                  "LIMIT ?");
  query.Bind(absl::ToUnixMicros(now)).Bind(limit);
  return ReadRows(query);
}

absl::StatusOr<std::vector<EvaluationRecord>> ListOpen(Connection& db, std::string_view job_id,
                                                       int limit) {
  Query query(
      db,
      "SELECT " TRAINERD_EVALUATION_COLUMNS
      " FROM evaluations WHERE state IN (1, 2) AND (job = ?1 OR (model > 'jobs/' || ?1 || '/' AND "
      "model < 'jobs/' || ?1 || '0')) ORDER BY number LIMIT ?2");
  query.Bind(job_id).Bind(limit);
  return ReadRows(query);
}

absl::StatusOr<bool> HasOpenRequired(Connection& db, std::string_view job_id) {
  Query query(db,
              "SELECT 1 FROM evaluations WHERE job = ? AND state IN (1, 2) AND required = 1 LIMIT "
              "1");
  const bool row = query.Bind(job_id).Step();
  RETURN_IF_ERROR(query.status());
  return row;
}

absl::StatusOr<std::set<std::string>> CheckpointsInEvaluation(Connection& db,
                                                              std::string_view job_id) {
  // '0' follows '/'. Jobs that started from such a checkpoint evaluate it, too.
  const std::string prefix = JobName(job_id) + "/checkpoints";
  Query query(db,
              "SELECT DISTINCT model FROM evaluations WHERE state IN (1, 2) AND model > ?1 || '/' "
              "AND model < ?1 || '0'");
  query.Bind(prefix);
  std::set<std::string> names;
  while (query.Step()) names.emplace(query.Text(0));
  RETURN_IF_ERROR(query.status());
  return names;
}

absl::StatusOr<EntryTriggers> LoadEntryTriggers(Connection& db, std::string_view job_id,
                                                std::string_view entry, std::string_view model) {
  EntryTriggers triggers;
  {
    Query query(db,
                "SELECT 1 FROM evaluations WHERE model = ? AND job = ? AND entry = ? AND cause != "
                "5 LIMIT 1");
    triggers.of_model = query.Bind(model).Bind(job_id).Bind(entry).Step();
    RETURN_IF_ERROR(query.status());
  }
  {
    // The checkpoint's id follows jobs/, the job's id and /checkpoints/.
    Query query(db,
                "SELECT step FROM evaluations WHERE job = ?1 AND entry = ?2 AND cause = 1 AND NOT "
                "EXISTS (SELECT 1 FROM checkpoints WHERE job = ?1 AND superseded = 1 AND id = "
                "substr(model, length(?1) + 19)) ORDER BY number DESC LIMIT 1");
    if (query.Bind(job_id).Bind(entry).Step()) triggers.interval_step = query.Int(0);
    RETURN_IF_ERROR(query.status());
  }
  Query query(db,
              "SELECT max(trigger_time) FROM evaluations WHERE job = ? AND entry = ? AND cause IN "
              "(1, 2)");
  query.Bind(job_id).Bind(entry);
  ASSIGN_OR_RETURN(triggers.gap_since, ReadTime(query));
  return triggers;
}

absl::StatusOr<std::vector<v1::Measurement>> EarlierResults(Connection& db,
                                                            const EvaluationRecord& evaluation) {
  Query query(db,
              "SELECT number, evaluation FROM evaluations WHERE job = ? AND entry = ? AND state = "
              "3 AND step <= ? AND number != ?");
  query.Bind(JobId(evaluation.evaluation.job())).Bind(evaluation.entry);
  query.Bind(evaluation.evaluation.step()).Bind(evaluation.number);
  return ReadMetrics(query);
}

absl::StatusOr<std::vector<v1::Measurement>> ModelResults(Connection& db, std::string_view model,
                                                          const EvaluationRecord& evaluation) {
  Query query(db,
              "SELECT number, evaluation FROM evaluations WHERE model = ? AND entry = ? AND state "
              "= 3 AND number != ?");
  query.Bind(model).Bind(evaluation.entry).Bind(evaluation.number);
  return ReadMetrics(query);
}

absl::Status LimitEvaluationTimes(Connection& db, absl::Time now, absl::Duration longest_lease) {
  Query query(
      db,
      "UPDATE evaluations SET deadline = min(deadline, ?1 + allowed), lease_end = "
      "min(lease_end, ?1 + ?2), trigger_time = min(trigger_time, ?1) WHERE trigger_time > ?1 "
      "OR (state IN (1, 2) AND (deadline > ?1 + allowed OR lease_end > ?1 + ?2))");
  return query.Bind(absl::ToUnixMicros(now)).Bind(absl::ToInt64Microseconds(longest_lease)).Run();
}

}  // namespace trainerd::server
