// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/housekeeping.h"

#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/names.h"
#include "server/ledger/checkpoint_scan.h"
#include "server/ledger/ledger.h"
#include "server/ledger/transition.h"
#include "server/store/event_rows.h"
#include "server/store/job_rows.h"
#include "server/store/run_rows.h"
#include "spdlog/spdlog.h"

namespace trainerd::server {
namespace {

// Replies to repeated requests are kept this long.
constexpr absl::Duration kRequestRetention = absl::Hours(24 * 30);
constexpr int kExpireJobsAtOnce = 50;
// DiskLow: free space below twice the newest checkpoint; cleared above three times.
constexpr int64_t kLowFactor = 2;
constexpr int64_t kClearFactor = 3;

void Log(const absl::Status& status, const char* what, const std::string& job_id) {
  if (!status.ok()) {
    spdlog::error("job={} {}: {}", job_id, what, std::string(status.message()));
  }
}

// Names of checkpoints of the job that an attempt or another job still starts from.
absl::StatusOr<std::set<std::string>> NamesInUse(Connection& db, const JobRecord& record) {
  std::set<std::string> names;
  if (!record.ledger.resume_name().empty()) names.insert(record.ledger.resume_name());
  ASSIGN_OR_RETURN(std::vector<std::string> others, JobsBasedOn(db, JobId(record.job.name())));
  for (const std::string& id : others) {
    ASSIGN_OR_RETURN(JobRecord other, LoadJob(db, id));
    names.insert(other.ledger.init_name());
  }
  return names;
}

absl::Status MarkRemoved(Store& store, v1::Checkpoint checkpoint) {
  return store.Change([&](Transaction& t) -> absl::Status {
    const std::string job_id = JobId(checkpoint.job());
    ASSIGN_OR_RETURN(std::optional<CheckpointRow> row,
                     FindCheckpoint(t.db(), job_id, CheckpointId(checkpoint.name())));
    if (!row || row->checkpoint.deleted()) return absl::OkStatus();
    row->checkpoint.set_deleted(true);
    return RecordCheckpoint(t, row->checkpoint, v1::CheckpointEvent::DELETED,
                            "no longer kept by checkpoint.keep_last");
  });
}

}  // namespace

Housekeeping::Housekeeping(Options options, Store& store, DiskWorker& disk)
    : options_(std::move(options)), store_(store), disk_(disk) {}

void Housekeeping::Retain(const std::string& job_id) {
  disk_.Post([this, job_id] {
    absl::Status retained = RetainNow(job_id);
    Log(retained, "cannot remove old checkpoints", job_id);
    if (retained.ok()) return;
    absl::MutexLock lock(&mutex_);
    failed_retentions_.insert(job_id);
  });
}

void Housekeeping::Delete(const std::string& job_id) {
  disk_.Post([this, job_id] {
    absl::Status deleted = DeleteNow(job_id);
    Log(deleted, "cannot delete", job_id);
    if (deleted.ok()) return;
    absl::MutexLock lock(&mutex_);
    failed_deletions_.insert(job_id);
  });
}

void Housekeeping::RetryFailed() {
  std::set<std::string> retentions, deletions;
  {
    absl::MutexLock lock(&mutex_);
    retentions.swap(failed_retentions_);
    deletions.swap(failed_deletions_);
  }
  for (const std::string& id : retentions) Retain(id);
  for (const std::string& id : deletions) Delete(id);
}

void Housekeeping::CheckDisk(const std::string& job_id) {
  disk_.Post([this, job_id] { Log(CheckDiskNow(job_id), "cannot check the disk", job_id); });
}

void Housekeeping::Expire() {
  disk_.Post([this] { Log(ExpireNow(), "cannot expire old events", "-"); });
}

absl::Status Housekeeping::Recover() {
  ASSIGN_OR_RETURN(const std::vector<std::string> deleting,
                   store_.Read([](Connection& db) { return DeletingJobs(db); }));
  for (const std::string& id : deleting) Delete(id);
  ASSIGN_OR_RETURN(const std::vector<std::string> paused,
                   store_.Read([](Connection& db) { return JobsInState(db, v1::Job::PAUSED); }));
  for (const std::string& id : paused) Retain(id);
  disk_.Post([this] { Log(EmptyTrash(options_.runs_dir), "cannot empty the trash", "-"); });
  return absl::OkStatus();
}

absl::Status Housekeeping::RetainNow(const std::string& job_id) {
  std::string run_dir;
  std::vector<v1::Checkpoint> removals;
  absl::Status read = store_.Read([&](Connection& db) -> absl::Status {
    ASSIGN_OR_RETURN(JobRecord record, LoadJob(db, job_id));
    ASSIGN_OR_RETURN(std::set<std::string> in_use, NamesInUse(db, record));
    ASSIGN_OR_RETURN(std::vector<CheckpointRow> rows,
                     ListCheckpointRows(db, job_id, /*with_deleted=*/false));
    run_dir = record.job.run_dir();
    removals = ChooseRemovals(rows, record.job.config().checkpoint().keep_last(), in_use);
    return absl::OkStatus();
  });
  if (absl::IsNotFound(read)) return absl::OkStatus();  // deleted in between
  RETURN_IF_ERROR(read);
  RETURN_IF_ERROR(EmptyTrash(run_dir));  // after an interrupted removal
  for (const v1::Checkpoint& checkpoint : removals) {
    RETURN_IF_ERROR(RemoveCheckpoint(run_dir, CheckpointId(checkpoint.name())));
    RETURN_IF_ERROR(MarkRemoved(store_, checkpoint));
  }
  return absl::OkStatus();
}

absl::Status Housekeeping::DeleteNow(const std::string& job_id) {
  RETURN_IF_ERROR(RemoveRunDirectory(absl::StrCat(options_.runs_dir, "/", job_id)));
  return store_.Change([&](Transaction& t) -> absl::Status {
    RETURN_IF_ERROR(DeleteJobRows(t.db(), job_id));
    v1::Event event;
    event.set_job(JobName(job_id));
    event.mutable_notice()->set_level(v1::Notice::INFO);
    event.mutable_notice()->set_code("JOB_DELETED");
    event.mutable_notice()->set_message("the job, its events and its run directory were deleted");
    return t.Append(std::move(event), kJobDeleted);
  });
}

absl::Status Housekeeping::CheckDiskNow(const std::string& job_id) {
  ASSIGN_OR_RETURN(const int64_t free, options_.free_bytes(options_.runs_dir));
  return store_.Change([&](Transaction& t) -> absl::Status {
    absl::StatusOr<JobRecord> record = LoadJob(t.db(), job_id);
    if (!record.ok()) return absl::OkStatus();
    ASSIGN_OR_RETURN(std::vector<CheckpointRow> rows,
                     ListCheckpointRows(t.db(), job_id, /*with_deleted=*/false));
    if (rows.empty()) return absl::OkStatus();
    const int64_t size = rows.front().checkpoint.size_bytes();
    const bool active = IsConditionActive(record->job, "DiskLow");
    const bool low = free < (active ? kClearFactor : kLowFactor) * size;
    ASSIGN_OR_RETURN(
        const bool changed,
        ApplyCondition(t,
                       {.type = "DiskLow",
                        .active = low,
                        .reason = low ? "FREE_SPACE" : "FREED",
                        .message = absl::StrCat(FormatBytes(free), " are free; a checkpoint takes ",
                                                FormatBytes(size))},
                       &*record));
    return changed ? StoreJob(t.db(), &*record) : absl::OkStatus();
  });
}

absl::Status Housekeeping::ExpireNow() {
  const absl::Time now = options_.clock();
  int expired = kExpireJobsAtOnce;
  while (expired == kExpireJobsAtOnce) {
    RETURN_IF_ERROR(store_.Change([&](Transaction& t) -> absl::Status {
      ASSIGN_OR_RETURN(expired,
                       PruneEvents(t.db(), now - options_.metrics_retention, kExpireJobsAtOnce));
      return PruneRequests(t.db(), now - kRequestRetention);
    }));
  }
  return absl::OkStatus();
}

}  // namespace trainerd::server
