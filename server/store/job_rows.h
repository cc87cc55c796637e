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

struct JobRecord {
  int64_t number = 0;    // 0 = not stored yet
  int64_t revision = 0;  // = Job.etag
  // The desired state in the database.
  v1::Job::DesiredState stored_desired_state = v1::Job::DESIRED_STATE_UNSPECIFIED;
  v1::Job job;
  internal::JobLedger ledger;
};
// Errors: NotFound.
absl::StatusOr<JobRecord> LoadJob(Connection& db, std::string_view id);
// Inserts the row if number is 0, else updates it. A new desired state increments the revision and
// with it the etag.
absl::Status StoreJob(Connection& db, JobRecord* record);
// Stores the progress only. The etag does not change.
absl::Status StoreProgress(Connection& db, std::string_view id, const v1::Progress& progress);
absl::Status DeleteJobRows(Connection& db, std::string_view id);

struct JobQuery {
  std::vector<v1::Job::State> states;  // empty = all
  int64_t before_number = 0;           // only older ones; 0 = from the newest
  int limit = 100;
};
// Of one page: after the first element, none is added that would exceed it.
inline constexpr size_t kMaxPageBytes = size_t{1} << 20;
struct JobPage {
  std::vector<JobRecord> records;
  // A limit ended the page: there may be further ones.
  bool more = false;
};
// Newest first.
absl::StatusOr<JobPage> ListJobRows(Connection& db, const JobQuery& query);
// Queued jobs that may start now and ask for `device` ("auto", "cpu", "cuda:0"), in queue order.
// `now` is the time of Store::SteadyNow, here and below.
struct QueueEntry {
  std::string id;
  int64_t number = 0;
  int priority = 0;
  std::string device;
};
absl::StatusOr<std::vector<QueueEntry>> ListQueue(Connection& db, std::string_view device,
                                                  absl::Time now, int limit);
// Number of jobs of the queue that ask for `device` and come before `record`.
absl::StatusOr<int64_t> JobsBefore(Connection& db, std::string_view device, const JobRecord& record,
                                   absl::Time now);
// Jobs that wait for `reason` and whose not_before is at most `before` (InfiniteFuture: any),
// earliest not_before first. That of NOT_BEFORE is a time of the system's clock.
absl::StatusOr<std::vector<std::string>> ListWaiting(Connection& db, v1::Job::WaitReason reason,
                                                     absl::Time before, int limit);
// The earliest not_before of the jobs that wait for NOT_BEFORE.
absl::StatusOr<std::optional<absl::Time>> EarliestStart(Connection& db);
absl::StatusOr<int64_t> CountJobs(Connection& db, v1::Job::State state);
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
// Ids of jobs that are being deleted.
absl::StatusOr<std::vector<std::string>> DeletingJobs(Connection& db);
// Devices that the jobs of the queue request.
absl::StatusOr<std::vector<std::string>> QueuedDevices(Connection& db);

}  // namespace trainerd::server
