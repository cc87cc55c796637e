// SPDX-License-Identifier: Apache-2.0
// Rows of the table jobs: the stored job with its columns, and the queries of queue and lists.
// Each function uses the given connection: the writer's in a change, a reader's in a read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/sqlite.h"
#include "trainerd/internal/store.pb.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server {

// The columns of a row that only lists of jobs and rare searches read. They follow from the record.
struct ListedColumns {
  int64_t state = 0, priority = 0, deleting = 0, end_time = 0;
  std::string device, output_path, base_job, name;
  bool operator==(const ListedColumns&) const = default;
};
struct JobRecord {
  int64_t number = 0;    // 0 = not stored yet
  int64_t revision = 0;  // = Job.etag
  // The desired state in the database.
  v1::Job::DesiredState stored_desired_state = v1::Job::DESIRED_STATE_UNSPECIFIED;
  v1::Job job;
  internal::JobLedger ledger;
  // Without `usage`, which is job.usage.
  internal::UsageRecord usage = {};
  // In the database.
  ListedColumns stored_listed = {};
};
// Errors: NotFound.
absl::StatusOr<JobRecord> LoadJob(Connection& db, std::string_view id);
absl::StatusOr<bool> JobExists(Connection& db, std::string_view id);
// nullopt: there is none.
absl::StatusOr<std::optional<JobRecord>> LoadJobByNumber(Connection& db, int64_t number);
// Inserts the row if number is 0, else updates it. A new desired state increments the revision and
// with it the etag.
absl::Status StoreJob(Connection& db, JobRecord* record);
// Stores progress and usage only. The etag does not change.
absl::Status StoreProgress(Connection& db, JobRecord* record);
absl::Status DeleteJobRows(Connection& db, std::string_view id);

// A queued job that may start as soon as it has a device and its owner's quota allows.
struct QueueEntry {
  std::string id;
  int64_t number = 0;
  // config.priority
  int priority = 0;
  // As the configuration requests it: "auto", "cpu", "cuda:0".
  std::string device;
  std::string owner = {};
  v1::Job::WaitReason wait_reason = v1::Job::RESOURCES;
  // JobLedger.queue_order
  int64_t order = 0;
  // JobLedger.queued_since; InfiniteFuture: it does not age.
  absl::Time queued_since = absl::InfiniteFuture();
};
// How the queue is read. Times are those of Store::SteadyNow, here and below.
struct QueueQuery {
  std::string_view device;
  absl::Time now;
  // SchedulingConfig.priority_aging; 0 = none.
  absl::Duration aging = absl::ZeroDuration();
  // Of these owners no job.
  std::vector<std::string> without_owners = {};
};
// The first `limit` jobs in the order of the queue (ledger/queue_order.h).
absl::StatusOr<std::vector<QueueEntry>> ListQueue(Connection& db, const QueueQuery& query,
                                                  int limit);
// All jobs of the queue, then the other QUEUED jobs, those with a later not_before among them. An
// entry of the queue has the wait reason RESOURCES, whatever its row has, another one NOT_BEFORE;
// ids, devices and owners are empty.
absl::StatusOr<std::vector<QueueEntry>> ListQueued(Connection& db, absl::Time now);
// Number of jobs that come before `record`.
absl::StatusOr<int64_t> JobsBefore(Connection& db, const QueueQuery& query,
                                   const JobRecord& record);
// Jobs that wait for `reason` and whose not_before is at most `before` (InfiniteFuture: any),
// earliest not_before first. That of NOT_BEFORE is a time of the system's clock.
absl::StatusOr<std::vector<std::string>> ListWaiting(Connection& db, v1::Job::WaitReason reason,
                                                     absl::Time before, int limit);
// Jobs that wait for QUOTA; id and owner alone.
absl::StatusOr<std::vector<QueueEntry>> ListQuotaWaits(Connection& db, int limit);
// The earliest not_before of the jobs that wait for NOT_BEFORE.
absl::StatusOr<std::optional<absl::Time>> EarliestStart(Connection& db);
absl::StatusOr<int64_t> CountJobs(Connection& db, v1::Job::State state);
absl::StatusOr<int64_t> CountJobsOf(Connection& db, v1::Job::State state, std::string_view owner);
// Ids of jobs with a deadline in their ledger: those that wait for a retry or have an attempt.
absl::StatusOr<std::vector<std::string>> JobsWithDeadlines(Connection& db);
// Ids of jobs in this state.
absl::StatusOr<std::vector<std::string>> JobsInState(Connection& db, v1::Job::State state);
// Ids of jobs that are not terminal.
absl::StatusOr<std::vector<std::string>> UnfinishedJobs(Connection& db);
// Ids of jobs that are not terminal and write to `output_path`, to a folder in it or to one that
// holds it; or that start from a checkpoint of `base_job`.
absl::StatusOr<std::vector<std::string>> JobsWithOutput(Connection& db,
                                                        std::string_view output_path);
absl::StatusOr<std::vector<std::string>> JobsBasedOn(Connection& db, std::string_view base_job);
// Numbers of all jobs that start from a checkpoint of `base_job`.
absl::StatusOr<std::vector<int64_t>> NumbersBasedOn(Connection& db, std::string_view base_job);
// Ids of jobs that are being deleted.
absl::StatusOr<std::vector<std::string>> DeletingJobs(Connection& db);
// Devices that the jobs of the queue request.
absl::StatusOr<std::vector<std::string>> QueuedDevices(Connection& db);

}  // namespace trainerd::server
