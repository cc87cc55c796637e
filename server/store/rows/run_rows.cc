// SPDX-License-Identifier: Apache-2.0
#include "server/store/rows/run_rows.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"
#include "server/store/cut_message.h"
#include "server/store/errors.h"

namespace trainerd::server {
namespace {

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

template <typename Message>
absl::StatusOr<Message> ParseBlob(std::string_view bytes, const char* what) {
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::DataLossError(absl::StrCat(what, " row does not parse"));
  }
  return message;
}

absl::StatusOr<std::vector<v1::Attempt>> ReadAttempts(Query& query) {
  std::vector<v1::Attempt> attempts;
  while (query.Step()) {
    ASSIGN_OR_RETURN(v1::Attempt attempt, ParseBlob<v1::Attempt>(query.Blob(0), "attempt"));
    attempts.push_back(std::move(attempt));
  }
  RETURN_IF_ERROR(query.status());
  return attempts;
}

absl::StatusOr<CheckpointRow> ReadCheckpoint(const Query& query) {
  ASSIGN_OR_RETURN(v1::Checkpoint checkpoint,
                   ParseBlob<v1::Checkpoint>(query.Blob(1), "checkpoint"));
  return CheckpointRow{.number = query.Int(0), .checkpoint = std::move(checkpoint)};
}

}  // namespace

absl::StatusOr<v1::Attempt> LoadAttempt(Connection& db, std::string_view job_id, int number) {
  Query query(db, "SELECT attempt FROM attempts WHERE job = ? AND number = ?");
  if (query.Bind(job_id).Bind(number).Step()) {
    return ParseBlob<v1::Attempt>(query.Blob(0), "attempt");
  }
  RETURN_IF_ERROR(query.status());
  return ErrorWithReason(absl::StatusCode::kNotFound, "ATTEMPT_NOT_FOUND",
                         absl::StrCat("jobs/", View(job_id), " has no attempt ", number));
}

absl::Status StoreAttempt(Connection& db, v1::Attempt attempt) {
  CutMessage(kMaxEventBytes, &attempt);
  const bool open = attempt.end() == v1::Attempt::END_UNSPECIFIED;
  Query query(db,
              "INSERT INTO attempts (job, number, open, attempt) VALUES (?1, ?2, ?3, ?4) "
              "ON CONFLICT (job, number) DO UPDATE SET open = ?3, attempt = ?4");
  return query.Bind(JobId(attempt.job()))
      .Bind(attempt.number())
      .Bind(open ? 1 : 0)
      .BindBlob(attempt.SerializeAsString())
      .Run();
}

absl::StatusOr<std::vector<v1::Attempt>> ListAttemptRows(Connection& db, std::string_view job_id,
                                                         int after_number, int limit) {
  Query query(db,
              "SELECT attempt FROM attempts WHERE job = ? AND number > ? ORDER BY number LIMIT ?");
  query.Bind(job_id).Bind(after_number).Bind(limit);
  return ReadAttempts(query);
}

absl::StatusOr<std::vector<v1::Attempt>> ListOpenAttempts(Connection& db) {
  Query query(db, "SELECT attempt FROM attempts WHERE open = 1 ORDER BY job");
  return ReadAttempts(query);
}

absl::StatusOr<int64_t> CountOpenAttempts(Connection& db) {
  Query query(db, "SELECT count(*) FROM attempts WHERE open = 1");
  const bool row = query.Step();
  RETURN_IF_ERROR(query.status());
  return row ? query.Int(0) : 0;
}

absl::StatusOr<SpoolRow> LoadSpoolPosition(Connection& db, std::string_view job_id, int attempt) {
  Query query(db, "SELECT segment, offset FROM spool_positions WHERE job = ? AND attempt = ?");
  SpoolRow row;
  if (query.Bind(job_id).Bind(attempt).Step()) row = {query.Int(0), query.Int(1)};
  RETURN_IF_ERROR(query.status());
  return row;
}

absl::Status StoreSpoolPosition(Connection& db, std::string_view job_id, int attempt,
                                const SpoolRow& row) {
  Query query(db,
              "INSERT INTO spool_positions VALUES (?1, ?2, ?3, ?4) "
              "ON CONFLICT (job, attempt) DO UPDATE SET segment = ?3, offset = ?4");
  return query.Bind(job_id).Bind(attempt).Bind(row.segment).Bind(row.offset).Run();
}

absl::StatusOr<std::optional<CheckpointRow>> FindCheckpoint(Connection& db, std::string_view job_id,
                                                            std::string_view id) {
  Query query(db, "SELECT number, checkpoint FROM checkpoints WHERE job = ? AND id = ?");
  if (query.Bind(job_id).Bind(id).Step()) {
    ASSIGN_OR_RETURN(CheckpointRow row, ReadCheckpoint(query));
    return std::optional<CheckpointRow>(std::move(row));
  }
  RETURN_IF_ERROR(query.status());
  return std::optional<CheckpointRow>();
}

absl::Status StoreCheckpoint(Connection& db, v1::Checkpoint checkpoint) {
  CutMessage(kMaxEventBytes, &checkpoint);
  Query query(db,
              "INSERT INTO checkpoints (job, id, step, verified, superseded, deleted, checkpoint) "
              "VALUES (?1,?2,?3,?4,?5,?6,?7) "
              "ON CONFLICT (job, id) DO UPDATE SET step = ?3, verified = ?4, superseded = ?5, "
              "deleted = ?6, checkpoint = ?7");
  return query.Bind(JobId(checkpoint.job()))
      .Bind(CheckpointId(checkpoint.name()))
      .Bind(checkpoint.step())
      .Bind(checkpoint.verified() ? 1 : 0)
      .Bind(checkpoint.superseded() ? 1 : 0)
      .Bind(checkpoint.deleted() ? 1 : 0)
      .BindBlob(checkpoint.SerializeAsString())
      .Run();
}

absl::StatusOr<std::optional<CheckpointRow>> FindCheckpointOfStep(Connection& db,
                                                                  std::string_view job_id,
                                                                  int64_t step) {
  Query query(db,
              "SELECT number, checkpoint FROM checkpoints WHERE job = ? AND step = ? AND deleted = "
              "0 AND superseded = 0 ORDER BY number DESC LIMIT 1");
  std::optional<CheckpointRow> row;
  if (query.Bind(job_id).Bind(step).Step()) {
    ASSIGN_OR_RETURN(row, ReadCheckpoint(query));
  }
  RETURN_IF_ERROR(query.status());
  return row;
}

absl::StatusOr<std::vector<CheckpointRow>> ListCheckpointRows(Connection& db,
                                                              std::string_view job_id,
                                                              bool with_deleted) {
  return ListCheckpointRows(db, {.job_id = std::string(job_id),
                                 .with_deleted = with_deleted,
                                 .limit = std::numeric_limits<int>::max()});
}

absl::StatusOr<std::vector<CheckpointRow>> ListCheckpointRows(Connection& db,
                                                              const CheckpointQuery& query) {
  // An index serves each form: those of the deleted ones are not read unless they are listed.
  const char* const kept =
      "SELECT number, checkpoint FROM checkpoints WHERE job = ?1 AND deleted = 0 AND number < ?2 "
      "ORDER BY number DESC LIMIT ?3";
  const char* const of_job =
      "SELECT number, checkpoint FROM checkpoints WHERE job = ?1 AND number < ?2 ORDER BY number "
      "DESC LIMIT ?3";
  const char* const of_all =
      "SELECT number, checkpoint FROM checkpoints WHERE (?1 OR deleted = 0) AND number < ?2 ORDER "
      "BY number DESC LIMIT ?3";
  const bool all = query.job_id.empty();
  Query rows_of(db, all ? of_all : query.with_deleted ? of_job : kept);
  all ? rows_of.Bind(query.with_deleted ? 1 : 0) : rows_of.Bind(query.job_id);
  rows_of.Bind(query.before_number == 0 ? INT64_MAX : query.before_number).Bind(query.limit);
  std::vector<CheckpointRow> rows;
  while (rows_of.Step()) {
    ASSIGN_OR_RETURN(CheckpointRow row, ReadCheckpoint(rows_of));
    rows.push_back(std::move(row));
  }
  RETURN_IF_ERROR(rows_of.status());
  return rows;
}

}  // namespace trainerd::server
