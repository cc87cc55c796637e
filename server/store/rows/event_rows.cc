// SPDX-License-Identifier: Apache-2.0
#include "server/store/rows/event_rows.h"

#include <algorithm>
#include <utility>

#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server {
namespace {

EventRecord ReadRecord(const Query& query) {
  return {.seq = query.Int(0),
          .change = query.Int(1),
          // A notice of the daemon itself has no job.
          .job = query.Text(2).empty() ? "" : JobName(query.Text(2)),
          .type = static_cast<int>(query.Int(3)),
          .flags = static_cast<int>(query.Int(4)),
          .bytes = std::make_shared<const std::string>(query.Blob(5))};
}

// Deletes the events of one job that may expire.
absl::Status PruneJob(Connection& db, std::string_view id) {
  // Of this job, and of all jobs together.
  Query lost(db,
             "INSERT INTO lost_events SELECT owner.column1, type, max(seq) FROM events, "
             "(VALUES (?1), ('')) AS owner WHERE job = ?1 AND type IN (?2, ?3, ?4) GROUP BY 1, 2 "
             "ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)");
  lost.Bind(id).Bind(v1::Event::kMetrics).Bind(v1::Event::kSample).Bind(v1::Event::kNotice);
  RETURN_IF_ERROR(lost.Run());
  Query remove(db, "DELETE FROM events WHERE job = ? AND type IN (?, ?, ?)");
  remove.Bind(id).Bind(v1::Event::kMetrics).Bind(v1::Event::kSample).Bind(v1::Event::kNotice);
  RETURN_IF_ERROR(remove.Run());
  // So that it is not checked again.
  Query mark(db, "UPDATE jobs SET pruned_seq = 1 WHERE id = ?");
  return mark.Bind(id).Run();
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

absl::StatusOr<int64_t> ScanEvents(Connection& db, const EventScan& scan,
                                   const std::function<bool(std::string_view bytes)>& take) {
  const char* const texts[2][2] = {
      {"SELECT seq, type, event FROM events WHERE ?1 = '' AND seq > ?2 ORDER BY seq",
       "SELECT seq, type, event FROM events WHERE ?1 = '' AND seq < ?2 ORDER BY seq DESC"},
      {"SELECT seq, type, event FROM events WHERE job = ?1 AND seq > ?2 ORDER BY seq",
       "SELECT seq, type, event FROM events WHERE job = ?1 AND seq < ?2 ORDER BY seq DESC"}};
  Query query(db, texts[scan.job_id.empty() ? 0 : 1][scan.descending ? 1 : 0]);
  const bool from_end = scan.descending && scan.after == 0;
  query.Bind(scan.job_id).Bind(from_end ? INT64_MAX : scan.after);
  int64_t last = scan.after;
  int count = 0;
  while (query.Step()) {
    if (count++ == scan.limit) return last;
    const bool requested = scan.types == 0 || (scan.types >> query.Int(1) & 1) != 0;
    if (requested && !take(query.Blob(2))) return last;
    last = query.Int(0);
  }
  RETURN_IF_ERROR(query.status());
  return 0;
}

absl::Status ReadMeasurements(Connection& db, std::string_view job_id,
                              const std::function<bool(const v1::Event&)>& take) {
  Query query(db, "SELECT event FROM events WHERE job = ? AND type IN (?, ?) ORDER BY seq DESC");
  query.Bind(job_id).Bind(v1::Event::kMetrics).Bind(v1::Event::kEval);
  while (query.Step()) {
    const std::string_view bytes = query.Blob(0);
    v1::Event event;
    if (!event.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
      return absl::DataLossError("event row does not parse");
    if (!take(event)) break;
  }
  return query.status();
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
                "SELECT id FROM jobs JOIN metric_jobs ON metric_jobs.job = jobs.number WHERE state "
                ">= ? AND deleting = 0 AND pruned_seq = 0 AND end_time > 0 AND end_time < ? AND "
                "metric_jobs.complete = 1 LIMIT ?");
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
  Query query(db,
              "INSERT INTO idempotency (request_id, method, body_hash, response, create_time) "
              "VALUES (?, ?, ?, ?, ?)");
  return query.Bind(request_id)
      .Bind(row.method)
      .BindBlob(row.body_hash)
      .BindBlob(row.response)
      .Bind(absl::ToUnixMicros(now))
      .Run();
}

absl::Status PruneRequests(Connection& db, absl::Time before) {
  // In the order of their arrival, up to the first that is younger: one that a clock set back made
  // look old is kept a little longer.
  Query requests(db,
                 "DELETE FROM idempotency WHERE number < ifnull((SELECT number FROM idempotency "
                 "WHERE create_time >= ? ORDER BY number LIMIT 1), 9223372036854775807)");
  return requests.Bind(absl::ToUnixMicros(before)).Run();
}

absl::StatusOr<std::string> DatabaseId(Connection& db) {
  Query query(db, "SELECT value FROM meta WHERE key = 'database_id'");
  if (query.Step()) return std::string(query.Text(0));
  RETURN_IF_ERROR(query.status());
  return absl::DataLossError("the database has no database_id; restore it from a backup");
}

absl::Status DeleteEvents(Connection& db, std::string_view job_id) {
  Query lost(db,
             "INSERT INTO lost_events SELECT '', type, max(seq) FROM events WHERE job = ? GROUP BY "
             "type ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)");
  RETURN_IF_ERROR(lost.Bind(job_id).Run());
  Query events(db, "DELETE FROM events WHERE job = ?");
  RETURN_IF_ERROR(events.Bind(job_id).Run());
  Query of_job(db, "DELETE FROM lost_events WHERE job = ?");
  return of_job.Bind(job_id).Run();
}

absl::StatusOr<int64_t> LostThrough(Connection& db, std::string_view job_id, uint64_t types) {
  Query query(db, "SELECT type, seq FROM lost_events WHERE job = ?");
  query.Bind(job_id);
  int64_t last = 0;
  while (query.Step()) {
    if (types == 0 || (types >> query.Int(0) & 1) != 0) last = std::max(last, query.Int(1));
  }
  RETURN_IF_ERROR(query.status());
  return last;
}

}  // namespace trainerd::server
