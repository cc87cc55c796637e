// SPDX-License-Identifier: Apache-2.0
#include "server/store/event_rows.h"

#include <utility>

#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server {
namespace {

EventRecord ReadRecord(const Query& query) {
  return {.seq = query.Int(0),
          .change = query.Int(1),
          .job = JobName(query.Text(2)),
          .type = static_cast<int>(query.Int(3)),
          .flags = static_cast<int>(query.Int(4)),
          .bytes = std::make_shared<const std::string>(query.Blob(5))};
}

absl::StatusOr<int64_t> ReadMeta(Connection& db, std::string_view key) {
  Query query(db, "SELECT value FROM meta WHERE key = ?");
  const bool row = query.Bind(key).Step();
  RETURN_IF_ERROR(query.status());
  return row ? query.Int(0) : 0;
}

// Deletes the events of one job that may expire, and stores the sequence number of the last one.
absl::Status PruneJob(Connection& db, std::string_view id) {
  int64_t last = 0;
  {
    Query query(db, "SELECT max(seq) FROM events WHERE job = ? AND type IN (?, ?, ?)");
    query.Bind(id).Bind(v1::Event::kMetrics).Bind(v1::Event::kSample).Bind(v1::Event::kNotice);
    if (query.Step()) last = query.Int(0);
    RETURN_IF_ERROR(query.status());
  }
  if (last > 0) {
    Query remove(db, "DELETE FROM events WHERE job = ? AND type IN (?, ?, ?)");
    remove.Bind(id).Bind(v1::Event::kMetrics).Bind(v1::Event::kSample).Bind(v1::Event::kNotice);
    RETURN_IF_ERROR(remove.Run());
    Query meta(db,
               "INSERT INTO meta VALUES ('pruned_through', ?1) "
               "ON CONFLICT (key) DO UPDATE SET value = max(value, ?1)");
    RETURN_IF_ERROR(meta.Bind(last).Run());
  }
  // 1 marks a job without such events, so that it is not checked again.
  Query mark(db, "UPDATE jobs SET pruned_seq = max(?, 1) WHERE id = ?");
  return mark.Bind(last).Bind(id).Run();
}

}  // namespace

absl::Status InsertEvent(Connection& db, const EventRecord& record) {
  Query query(db, "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)");
  return query.Bind(record.seq)
      .Bind(record.change)
      .Bind(JobId(record.job))
      .Bind(record.type)
      .Bind(record.flags)
      .BindBlob(*record.bytes)
      .Run();
}

absl::StatusOr<std::vector<EventRecord>> ReadEvents(Connection& db, std::string_view job_id,
                                                    int64_t after, int limit) {
  const char* const of_all =
      "SELECT seq, change, job, type, flags, event FROM events WHERE ?1 = '' AND seq > ?2 ORDER BY "
      "seq";
  const char* const of_job =
      "SELECT seq, change, job, type, flags, event FROM events WHERE job = ?1 AND seq > ?2 ORDER "
      "BY seq";
  Query query(db, job_id.empty() ? of_all : of_job);
  query.Bind(job_id).Bind(after);
  std::vector<EventRecord> records;
  while (query.Step()) {
    const bool new_change = records.empty() || records.back().change != query.Int(1);
    if (new_change && static_cast<int>(records.size()) >= limit) break;
    records.push_back(ReadRecord(query));
  }
  RETURN_IF_ERROR(query.status());
  return records;
}

absl::StatusOr<int64_t> LastSeq(Connection& db) {
  Query query(db, "SELECT max(seq) FROM events");
  const bool row = query.Step();
  RETURN_IF_ERROR(query.status());
  return row ? query.Int(0) : 0;
}

absl::StatusOr<int> PruneEvents(Connection& db, absl::Time ended_before, int limit) {
  std::vector<std::string> ids;
  {
    Query query(db,
                "SELECT id FROM jobs WHERE state >= ? AND deleting = 0 AND pruned_seq = 0 AND "
                "end_time > 0 AND end_time < ? LIMIT ?");
    query.Bind(v1::Job::SUCCEEDED).Bind(absl::ToUnixMicros(ended_before)).Bind(limit);
    while (query.Step()) ids.emplace_back(query.Text(0));
    RETURN_IF_ERROR(query.status());
  }
  for (const std::string& id : ids) RETURN_IF_ERROR(PruneJob(db, id));
  return static_cast<int>(ids.size());
}

absl::StatusOr<std::optional<IdempotencyRow>> FindRequest(Connection& db,
                                                          std::string_view request_id) {
  Query query(db, "SELECT method, body_hash, response FROM idempotency WHERE request_id = ?");
  std::optional<IdempotencyRow> row;
  if (query.Bind(request_id).Step()) {
    row = {std::string(query.Text(0)), std::string(query.Blob(1)), std::string(query.Blob(2))};
  }
  RETURN_IF_ERROR(query.status());
  return row;
}

absl::Status StoreRequest(Connection& db, std::string_view request_id, const IdempotencyRow& row,
                          absl::Time now) {
  Query query(db, "INSERT INTO idempotency VALUES (?, ?, ?, ?, ?)");
  return query.Bind(request_id)
      .Bind(row.method)
      .BindBlob(row.body_hash)
      .BindBlob(row.response)
      .Bind(absl::ToUnixMicros(now))
      .Run();
}

absl::Status PruneRequests(Connection& db, absl::Time before) {
  Query requests(db, "DELETE FROM idempotency WHERE create_time < ?");
  RETURN_IF_ERROR(requests.Bind(absl::ToUnixMicros(before)).Run());
  Query audit(db, "DELETE FROM audit WHERE time < ?");
  return audit.Bind(absl::ToUnixMicros(before)).Run();
}

absl::Status StoreAudit(Connection& db, const AuditRow& row, absl::Time now) {
  Query query(db, "INSERT INTO audit (time, method, job, peer, detail) VALUES (?, ?, ?, ?, ?)");
  return query.Bind(absl::ToUnixMicros(now))
      .Bind(row.method)
      .Bind(row.job)
      .Bind(row.peer)
      .Bind(row.detail)
      .Run();
}

absl::StatusOr<std::string> DatabaseId(Connection& db) {
  Query query(db, "SELECT value FROM meta WHERE key = 'database_id'");
  if (query.Step()) return std::string(query.Text(0));
  RETURN_IF_ERROR(query.status());
  return absl::DataLossError("the database has no database_id; restore it from a backup");
}

absl::StatusOr<int64_t> PrunedThrough(Connection& db) { return ReadMeta(db, "pruned_through"); }

}  // namespace trainerd::server
