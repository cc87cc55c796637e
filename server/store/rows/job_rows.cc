// SPDX-License-Identifier: Apache-2.0
#include "server/store/rows/job_rows.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"
#include "server/store/cut_message.h"
#include "server/store/errors.h"
#include "server/store/rows/dependency_rows.h"
#include "server/store/rows/event_rows.h"
#include "server/store/rows/label_rows.h"
#include "server/store/rows/usage_rows.h"

namespace trainerd::server {
namespace {

#define TRAINERD_JOB_COLUMNS "number, revision, job, progress, ledger, usage"

// The columns of every update, and its row.
#define TRAINERD_SET_REST                                                                      \
  "wait_reason=?, not_before=?, queue_order=max(queue_order, ?), queued_since=?, revision=?, " \
  "job=?, progress=?, ledger=?, usage=? WHERE id = ?"

// The effective priority of a row (ledger/queue_order.h): ?2 = now, ?3 = aging, both in
// microseconds.
#define TRAINERD_EFFECTIVE_PRIORITY \
  "min(100, priority + iif(queued_since = 0, 0, max(0, ?2 - queued_since) / ?3))"
// The rows of the queue (store/schema/0009_scheduling.sql): ?1 = device, ?2 = now.
#define TRAINERD_QUEUED                                                                 \
  "state = 1 AND deleting = 0 AND wait_reason NOT IN (3, 7, 8, 9) AND device = ?1 AND " \
  "not_before <= ?2"

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

bool Parse(std::string_view bytes, google::protobuf::Message* message) {
  return message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

int64_t MicrosOrZero(bool has, const google::protobuf::Timestamp& time) {
  return has ? absl::ToUnixMicros(FromProto(time)) : 0;
}

// Of the column queued_since.
absl::Time TimeOrInfinite(int64_t micros) {
  return micros == 0 ? absl::InfiniteFuture() : absl::FromUnixMicros(micros);
}

// The column base_job. Until it is resolved, init_from may name a job that has no checkpoint yet.
std::string BaseJob(const JobRecord& record) {
  const v1::JobConfig& config = record.job.config();
  if (!config.has_init_from()) return "";
  if (!record.ledger.init_name().empty()) return JobId(record.ledger.init_name());
  const bool resolved = !record.ledger.init_path().empty();
  return resolved ? "" : JobId(ParseJobName(config.init_from().checkpoint()).value_or(""));
}

ListedColumns ListedOf(const JobRecord& record) {
  const v1::Job& job = record.job;
  const std::string& output = record.ledger.output_path().empty() ? job.config().output().path()
                                                                  : record.ledger.output_path();
  return {.state = job.state(),
          .priority = job.config().priority(),
          .deleting = job.deleting() ? 1 : 0,
          .end_time = MicrosOrZero(job.has_end_time(), job.end_time()),
          .device = job.config().resources().device(),
          .output_path = output,
          .base_job = BaseJob(record),
          .name = job.config().name()};
}

absl::StatusOr<JobRecord> ReadRow(const Query& query) {
  JobRecord record;
  record.number = query.Int(0);
  record.revision = query.Int(1);
  const bool ok = Parse(query.Blob(2), &record.job) &&
                  Parse(query.Blob(3), record.job.mutable_progress()) &&
                  Parse(query.Blob(4), &record.ledger) && Parse(query.Blob(5), &record.usage);
  if (!ok) return absl::DataLossError(absl::StrCat("job row ", record.number, " does not parse"));
  record.job.set_etag(absl::StrCat(record.revision));
  record.stored_desired_state = record.job.desired_state();
  record.stored_listed = ListedOf(record);
  if (record.usage.has_usage()) record.job.set_allocated_usage(record.usage.release_usage());
  return record;
}

// The column usage.
std::string UsageBytes(JobRecord* record) {
  if (record->job.has_usage()) record->usage.set_allocated_usage(record->job.release_usage());
  std::string bytes = record->usage.SerializeAsString();
  if (record->usage.has_usage()) record->job.set_allocated_usage(record->usage.release_usage());
  return bytes;
}

absl::StatusOr<std::vector<std::string>> ReadTexts(Query& query) {
  std::vector<std::string> texts;
  while (query.Step()) texts.emplace_back(query.Text(0));
  RETURN_IF_ERROR(query.status());
  return texts;
}

// What workers reported. With the configuration, the whole job fits in a message of 4 MiB.
void CutReports(v1::Job* job) {
  constexpr size_t kMaxErrorBytes = 64 << 10;
  constexpr size_t kMaxReportBytes = 16 << 10;
  if (job->has_error()) CutMessage(kMaxErrorBytes, job->mutable_error());
  for (v1::Job::Condition& condition : *job->mutable_conditions())
    CutMessage(kMaxReportBytes, &condition);
  for (v1::Alert& alert : *job->mutable_alerts()) CutMessage(kMaxReportBytes, &alert);
}

// The column not_before.
int64_t RetryMicros(const JobRecord& record) {
  const internal::JobLedger& ledger = record.ledger;
  if (ledger.has_retry_time()) return MicrosOrZero(true, ledger.retry_time());
  return MicrosOrZero(record.job.has_not_before(), record.job.not_before());
}

}  // namespace

absl::StatusOr<JobRecord> LoadJob(Connection& db, std::string_view id) {
  Query query(db, "SELECT " TRAINERD_JOB_COLUMNS " FROM jobs WHERE id = ?");
  if (query.Bind(id).Step()) return ReadRow(query);
  RETURN_IF_ERROR(query.status());
  return ErrorWithReason(
      absl::StatusCode::kNotFound, "JOB_NOT_FOUND",
      absl::StrCat("job jobs/", View(id), " does not exist; `trainctl ls` lists all jobs"));
}

absl::StatusOr<bool> JobExists(Connection& db, std::string_view id) {
  Query query(db, "SELECT 1 FROM jobs WHERE id = ?");
  const bool exists = query.Bind(id).Step();
  RETURN_IF_ERROR(query.status());
  return exists;
}

absl::StatusOr<std::optional<JobRecord>> LoadJobByNumber(Connection& db, int64_t number) {
  Query query(db, "SELECT " TRAINERD_JOB_COLUMNS " FROM jobs WHERE number = ?");
  if (query.Bind(number).Step()) return ReadRow(query);
  RETURN_IF_ERROR(query.status());
  return std::nullopt;
}

absl::Status StoreJob(Connection& db, JobRecord* record) {
  CutReports(&record->job);
  if (record->number == 0 || record->job.desired_state() != record->stored_desired_state) {
    ++record->revision;
  }
  record->stored_desired_state = record->job.desired_state();
  record->job.set_etag(absl::StrCat(record->revision));
  const std::string id = JobId(record->job.name());
  const bool is_new = record->number == 0;
  // A new job has used nothing.
  const std::string usage_bytes = is_new ? "" : UsageBytes(record);
  // Progress and usage have their own columns, because they change with each batch of events.
  std::unique_ptr<v1::Progress> progress(record->job.release_progress());
  std::unique_ptr<v1::Usage> usage(record->job.release_usage());
  const v1::Job& job = record->job;
  const std::string job_bytes = job.SerializeAsString();
  const std::string progress_bytes = progress ? progress->SerializeAsString() : "";
  ListedColumns listed = ListedOf(*record);
  const auto bind_listed = [&](Query& query) {
    query.Bind(listed.state)
        .Bind(listed.priority)
        .Bind(listed.deleting)
        .Bind(listed.end_time)
        .Bind(listed.device)
        .Bind(listed.output_path)
        .Bind(listed.base_job)
        .Bind(listed.name);
  };
  const auto bind_rest = [&](Query& query) {
    query.Bind(job.wait_reason())
        .Bind(RetryMicros(*record))
        .Bind(record->ledger.queue_order())
        .Bind(MicrosOrZero(record->ledger.has_queued_since(), record->ledger.queued_since()))
        .Bind(record->revision)
        .BindBlob(job_bytes)
        .BindBlob(progress_bytes)
        .BindBlob(record->ledger.SerializeAsString());
  };
  absl::Status status;
  if (is_new) {
    Query query(db,
                "INSERT INTO jobs (state, priority, deleting, end_time, device, output_path, "
                "base_job, name, wait_reason, not_before, queue_order, queued_since, revision, "
                "job, progress, ledger, create_time, owner, id) VALUES "
                "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
    bind_listed(query);
    bind_rest(query);
    status = query.Bind(MicrosOrZero(job.has_create_time(), job.create_time()))
                 .Bind(job.owner())
                 .Bind(id)
                 .Run();
    record->number = db.last_insert_rowid();
    if (status.ok()) status = StoreLabels(db, record->number, job.config().labels());
  } else {
    // SQLite writes the entry of every index whose columns are named, changed or not.
    const bool lists = !(listed == record->stored_listed);
    Query query(db, lists ? "UPDATE jobs SET state=?, priority=?, deleting=?, end_time=?, "
                            "device=?, output_path=?, base_job=?, name=?, " TRAINERD_SET_REST
                          : "UPDATE jobs SET " TRAINERD_SET_REST);
    if (lists) bind_listed(query);
    bind_rest(query);
    status = query.BindBlob(usage_bytes).Bind(id).Run();
  }
  record->stored_listed = std::move(listed);
  if (progress) record->job.set_allocated_progress(progress.release());
  if (usage) record->job.set_allocated_usage(usage.release());
  RETURN_IF_ERROR(status);
  return NoteForDependents(db, id, record->job);
}

absl::Status StoreProgress(Connection& db, JobRecord* record) {
  Query query(db, "UPDATE jobs SET progress = ?, usage = ? WHERE number = ?");
  return query.BindBlob(record->job.progress().SerializeAsString())
      .BindBlob(UsageBytes(record))
      .Bind(record->number)
      .Run();
}

absl::Status DeleteJobRows(Connection& db, std::string_view id) {
  RETURN_IF_ERROR(KeepUsageOfDeleted(db, id));
  RETURN_IF_ERROR(DeleteEvents(db, id));
  Query labels(db, "DELETE FROM job_labels WHERE number = (SELECT number FROM jobs WHERE id = ?)");
  RETURN_IF_ERROR(labels.Bind(id).Run());
  // This also deletes attempts, spool positions and checkpoints (ON DELETE CASCADE).
  Query job(db, "DELETE FROM jobs WHERE id = ?");
  return job.Bind(id).Run();
}

absl::StatusOr<std::vector<QueueEntry>> ListQueue(Connection& db, const QueueQuery& filter,
                                                  int limit) {
  // The numbers must be those of the index jobs_queue (store/schema/0009_scheduling.sql).
  static_assert(v1::Job::HELD == 3 && v1::Job::DISK == 7 && v1::Job::NOT_BEFORE == 8 &&
                v1::Job::DEPENDENCY == 9);
  // The order is that of the index.
  static constexpr char kByPriority[] =
      "SELECT id, number, priority, owner, wait_reason, queue_order, queued_since FROM jobs "
      "INDEXED BY jobs_queue WHERE " TRAINERD_QUEUED
      " AND instr(?4, ',' || owner || ',') = 0 "
      "ORDER BY priority DESC, queue_order, number LIMIT ?5";
  // Reads the whole index, and the rows of the first jobs alone.
  static constexpr char kByAge[] =
      "SELECT id, number, priority, owner, wait_reason, queue_order, queued_since FROM jobs WHERE "
      "number IN (SELECT number FROM jobs INDEXED BY jobs_queue WHERE " TRAINERD_QUEUED
      " AND instr(?4, ',' || owner || ',') = 0 ORDER BY " TRAINERD_EFFECTIVE_PRIORITY
      " DESC, queue_order, number LIMIT ?5) ORDER BY " TRAINERD_EFFECTIVE_PRIORITY
      " DESC, queue_order, number";
  const int64_t aging = absl::ToInt64Microseconds(filter.aging);
  Query query(db, aging == 0 ? kByPriority : kByAge);
  query.Bind(filter.device).Bind(absl::ToUnixMicros(filter.now)).Bind(aging);
  // ",alice,bob,"
  std::string without;
  for (const std::string& owner : filter.without_owners)
    absl::StrAppend(&without, without.empty() ? "," : "", owner, ",");
  query.Bind(without).Bind(limit);
  std::vector<QueueEntry> entries;
  while (query.Step()) {
    entries.push_back({.id = std::string(query.Text(0)),
                       .number = query.Int(1),
                       .priority = static_cast<int>(query.Int(2)),
                       .device = std::string(filter.device),
                       .owner = std::string(query.Text(3)),
                       .wait_reason = static_cast<v1::Job::WaitReason>(query.Int(4)),
                       .order = query.Int(5),
                       .queued_since = TimeOrInfinite(query.Int(6))});
  }
  RETURN_IF_ERROR(query.status());
  return entries;
}

absl::StatusOr<std::vector<QueueEntry>> ListQueued(Connection& db, absl::Time now) {
  // The numbers are those of store/schema/0009_scheduling.sql.
  Query queue(db,
              "SELECT number, priority, queue_order, queued_since, not_before <= ? FROM jobs "
              "INDEXED BY jobs_queue WHERE state = 1 AND deleting = 0 AND wait_reason NOT IN (3, "
              "7, 8, 9)");
  queue.Bind(absl::ToUnixMicros(now));
  std::vector<QueueEntry> entries;
  while (queue.Step()) {
    entries.push_back({.number = queue.Int(0),
                       .priority = static_cast<int>(queue.Int(1)),
                       .wait_reason = queue.Int(4) != 0 ? v1::Job::RESOURCES : v1::Job::NOT_BEFORE,
                       .order = queue.Int(2),
                       .queued_since = TimeOrInfinite(queue.Int(3))});
  }
  RETURN_IF_ERROR(queue.status());
  Query waiting(db,
                "SELECT number FROM jobs INDEXED BY jobs_waiting WHERE state = 1 AND deleting = 0 "
                "AND wait_reason IN (3, 7, 8, 9)");
  while (waiting.Step())
    entries.push_back({.number = waiting.Int(0), .wait_reason = v1::Job::NOT_BEFORE});
  RETURN_IF_ERROR(waiting.status());
  return entries;
}

absl::StatusOr<int64_t> JobsBefore(Connection& db, const QueueQuery& filter,
                                   const JobRecord& record) {
  static constexpr char kByPriority[] =
      "SELECT count(*) FROM jobs, (SELECT priority AS p, queue_order AS o, number AS n FROM jobs "
      "WHERE number = ?4) WHERE " TRAINERD_QUEUED
      " AND priority >= p AND (priority > p OR (queue_order, number) < (o, n))";
  static constexpr char kByAge[] =
      "SELECT count(*) FROM jobs, (SELECT " TRAINERD_EFFECTIVE_PRIORITY
      " AS p, queue_order AS o, number AS n FROM jobs WHERE number = ?4) WHERE " TRAINERD_QUEUED
      " AND " TRAINERD_EFFECTIVE_PRIORITY " >= p AND (" TRAINERD_EFFECTIVE_PRIORITY
      " > p OR (queue_order, number) < (o, n))";
  const int64_t aging = absl::ToInt64Microseconds(filter.aging);
  Query query(db, aging == 0 ? kByPriority : kByAge);
  const bool row = query.Bind(filter.device)
                       .Bind(absl::ToUnixMicros(filter.now))
                       .Bind(aging)
                       .Bind(record.number)
                       .Step();
  RETURN_IF_ERROR(query.status());
  return row ? query.Int(0) : 0;
}

absl::StatusOr<std::vector<std::string>> ListWaiting(Connection& db, v1::Job::WaitReason reason,
                                                     absl::Time before, int limit) {
  Query query(db,
              "SELECT id FROM jobs WHERE state = 1 AND deleting = 0 AND wait_reason = ? AND "
              "not_before <= ? ORDER BY not_before, number LIMIT ?");
  query.Bind(reason).Bind(absl::ToUnixMicros(before)).Bind(limit);
  return ReadTexts(query);
}

absl::StatusOr<std::vector<QueueEntry>> ListQuotaWaits(Connection& db, int limit) {
  Query query(db,
              "SELECT id, owner FROM jobs WHERE state = 1 AND deleting = 0 AND wait_reason = ? "
              "LIMIT ?");
  query.Bind(v1::Job::QUOTA).Bind(limit);
  std::vector<QueueEntry> entries;
  while (query.Step())
    entries.push_back({.id = std::string(query.Text(0)), .owner = std::string(query.Text(1))});
  RETURN_IF_ERROR(query.status());
  return entries;
}

absl::StatusOr<std::optional<absl::Time>> EarliestStart(Connection& db) {
  Query query(db,
              "SELECT not_before FROM jobs WHERE state = 1 AND deleting = 0 AND wait_reason = ? "
              "ORDER BY not_before LIMIT 1");
  const bool row = query.Bind(v1::Job::NOT_BEFORE).Step();
  RETURN_IF_ERROR(query.status());
  return row ? std::optional(absl::FromUnixMicros(query.Int(0))) : std::nullopt;
}

absl::StatusOr<int64_t> CountJobsOf(Connection& db, v1::Job::State state, std::string_view owner) {
  Query query(db, "SELECT count(*) FROM jobs WHERE state = ? AND deleting = 0 AND owner = ?");
  const bool row = query.Bind(state).Bind(owner).Step();
  RETURN_IF_ERROR(query.status());
  return row ? query.Int(0) : 0;
}

absl::StatusOr<int64_t> CountJobs(Connection& db, v1::Job::State state) {
  Query query(db, "SELECT count(*) FROM jobs WHERE state = ? AND deleting = 0");
  const bool row = query.Bind(state).Step();
  RETURN_IF_ERROR(query.status());
  return row ? query.Int(0) : 0;
}

absl::StatusOr<std::vector<std::string>> JobsWithDeadlines(Connection& db) {
  Query query(db,
              "SELECT id FROM jobs WHERE deleting = 0 AND (state IN (?, ?, ?, ?) OR (state = ? AND "
              "wait_reason = ?))");
  query.Bind(v1::Job::STARTING).Bind(v1::Job::RUNNING).Bind(v1::Job::PAUSING);
  query.Bind(v1::Job::STOPPING).Bind(v1::Job::QUEUED).Bind(v1::Job::BACKOFF);
  return ReadTexts(query);
}

absl::StatusOr<std::vector<std::string>> JobsInState(Connection& db, v1::Job::State state) {
  Query query(db, "SELECT id FROM jobs WHERE state = ? AND deleting = 0");
  query.Bind(state);
  return ReadTexts(query);
}

absl::StatusOr<std::vector<std::string>> UnfinishedJobs(Connection& db) {
  Query query(db, "SELECT id FROM jobs WHERE state < ? AND deleting = 0");
  query.Bind(v1::Job::SUCCEEDED);
  return ReadTexts(query);
}

absl::StatusOr<std::vector<std::string>> JobsWithOutput(Connection& db,
                                                        std::string_view output_path) {
  // '0' follows '/'.
  Query query(db,
              "SELECT id FROM jobs WHERE output_path != '' AND state < ?2 AND (output_path = ?1 OR "
              "(output_path > ?1 || '/' AND output_path < ?1 || '0') OR "
              "substr(?1, 1, length(output_path) + 1) = output_path || '/')");
  query.Bind(output_path).Bind(v1::Job::SUCCEEDED);
  return ReadTexts(query);
}

absl::StatusOr<std::vector<std::string>> JobsBasedOn(Connection& db, std::string_view base_job) {
  Query query(db, "SELECT id FROM jobs WHERE base_job = ? AND base_job != '' AND state < ?");
  query.Bind(base_job).Bind(v1::Job::SUCCEEDED);
  return ReadTexts(query);
}

absl::StatusOr<std::vector<int64_t>> NumbersBasedOn(Connection& db, std::string_view base_job) {
  Query query(db, "SELECT number FROM jobs WHERE base_job = ? AND base_job != ''");
  query.Bind(base_job);
  std::vector<int64_t> numbers;
  while (query.Step()) numbers.push_back(query.Int(0));
  RETURN_IF_ERROR(query.status());
  return numbers;
}

absl::StatusOr<std::vector<std::string>> DeletingJobs(Connection& db) {
  Query query(db, "SELECT id FROM jobs WHERE deleting = 1");
  return ReadTexts(query);
}

absl::StatusOr<std::vector<std::string>> QueuedDevices(Connection& db) {
  Query query(db,
              "SELECT DISTINCT device FROM jobs INDEXED BY jobs_queue WHERE state = 1 AND "
              "deleting = 0 AND wait_reason NOT IN (3, 7, 8, 9)");
  return ReadTexts(query);
}

}  // namespace trainerd::server
