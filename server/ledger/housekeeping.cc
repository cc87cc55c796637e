// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/housekeeping.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "proto/contract/job/job_state.h"
#include "proto/contract/job/names.h"
#include "server/ledger/disk/checkpoint_scan.h"
#include "server/ledger/ledger.h"
#include "server/ledger/transition.h"
#include "server/store/rows/access/audit_rows.h"
#include "server/store/rows/event_rows.h"
#include "server/store/rows/job_rows.h"
#include "server/store/rows/label_rows.h"
#include "server/store/rows/retention_rows.h"
#include "server/store/rows/run_rows.h"
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

// Limits the size of a transaction; a longer list takes several.
constexpr int kMaxRemovals = 100;
constexpr int kDueJobsAtOnce = 1'000;

const char* WhyRemoved(RetentionReason reason) {
  return reason == RetentionReason::kExpired
             ? "its expire_time, or checkpoint.ttl, has passed"
             : "no longer kept by checkpoint.keep_last, keep_every_steps, keep_best and max_bytes";
}

// Marks the checkpoints that are to be removed, at most kMaxRemovals of them. Returns whether that
// is all.
absl::StatusOr<bool> MarkDeleted(Transaction& t, const std::string& job_id,
                                 const std::vector<RetentionItem>& items) {
  int marked = 0;
  for (const RetentionItem& item : items) {
    if (!item.removed) continue;
    if (++marked > kMaxRemovals) return false;
    v1::Checkpoint checkpoint = item.checkpoint;
    checkpoint.set_deleted(true);
    RETURN_IF_ERROR(StoreRemoval(t.db(), job_id, CheckpointId(checkpoint.name())));
    RETURN_IF_ERROR(
        RecordCheckpoint(t, checkpoint, v1::CheckpointEvent::DELETED, WhyRemoved(item.reason)));
  }
  return true;
}

// Records when each kept checkpoint may expire. One that has expired and is kept is due again when
// something else changes it.
absl::Status StoreDueTimes(Transaction& t, const JobRecord& record,
                           const std::vector<RetentionItem>& items, absl::Time now) {
  const v1::CheckpointConfig& rules = record.job.config().checkpoint();
  for (const RetentionItem& item : items) {
    if (item.removed) continue;
    const absl::Time expiry = NextExpiry(item.checkpoint, rules, IsTerminal(record.job.state()));
    RETURN_IF_ERROR(StoreDueTime(t.db(), JobId(record.job.name()),
                                 CheckpointId(item.checkpoint.name()),
                                 expiry <= now ? absl::InfiniteFuture() : expiry));
  }
  return absl::OkStatus();
}

// Whether a decision changes nothing in the database.
bool ChangesNothing(const JobRecord& record, const std::vector<RetentionItem>& items) {
  const v1::CheckpointConfig& rules = record.job.config().checkpoint();
  return std::none_of(items.begin(), items.end(), [&](const RetentionItem& item) {
    return item.removed || NextExpiry(item.checkpoint, rules, IsTerminal(record.job.state())) !=
                               absl::InfiniteFuture();
  });
}

int64_t BytesIn(const std::string& path) {
  int64_t bytes = 0;
  std::error_code error;
  if (std::filesystem::is_regular_file(path, error))
    return static_cast<int64_t>(std::filesystem::file_size(path, error));
  std::filesystem::recursive_directory_iterator files(path, error), end;
  for (; !error && files != end; files.increment(error)) {
    std::error_code gone;
    if (files->is_regular_file(gone) && !gone) {
      const uintmax_t size = files->file_size(gone);
      if (!gone) bytes += static_cast<int64_t>(size);
    }
  }
  return bytes;
}

// What is in the trash `dir`.
std::vector<Housekeeping::Garbage::Leftover> TrashIn(const std::string& dir) {
  std::vector<Housekeeping::Garbage::Leftover> leftovers;
  const absl::StatusOr<std::vector<std::string>> names = ListDirectory(dir);
  if (!names.ok()) return leftovers;
  for (const std::string& name : *names) {
    const std::string path = absl::StrCat(dir, "/", name);
    leftovers.push_back({.path = path, .bytes = BytesIn(path)});
  }
  return leftovers;
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
  disk_.Post([this] { Log(options_.expire_uploads(), "cannot expire old uploads", "-"); });
}

absl::Status Housekeeping::Recover() {
  std::vector<std::string> deleting, retained;
  RETURN_IF_ERROR(store_.Read([&](Connection& db) -> absl::Status {
    ASSIGN_OR_RETURN(deleting, DeletingJobs(db));
    ASSIGN_OR_RETURN(retained, JobsInState(db, v1::Job::PAUSED));
    ASSIGN_OR_RETURN(const std::vector<std::string> interrupted, JobsWithRemovals(db));
    retained.insert(retained.end(), interrupted.begin(), interrupted.end());
    return absl::OkStatus();
  }));
  for (const std::string& id : deleting) Delete(id);
  for (const std::string& id : retained) Retain(id);
  disk_.Post([this] {
    absl::MutexLock lock(&removal_mutex_);
    Log(EmptyTrash(options_.runs_dir), "cannot empty the trash", "-");
  });
  return absl::OkStatus();
}

void Housekeeping::Hold(const std::string& checkpoint) {
  absl::MutexLock lock(&mutex_);
  held_.insert(checkpoint);
}

void Housekeeping::Release(const std::string& checkpoint) {
  absl::MutexLock lock(&mutex_);
  if (const auto found = held_.find(checkpoint); found != held_.end()) held_.erase(found);
}

std::set<std::string> Housekeeping::InUse() {
  std::set<std::string> names = options_.in_use();
  absl::MutexLock lock(&mutex_);
  names.insert(held_.begin(), held_.end());
  return names;
}

absl::StatusOr<std::vector<RetentionItem>> Housekeeping::MarkRemovals(
    const std::string& job_id, const std::function<absl::Status(Transaction&)>& record) {
  std::vector<RetentionItem> items, part;
  bool nothing = false, complete = false;
  RETURN_IF_ERROR(store_.Read([&](Connection& db) -> absl::Status {
    ASSIGN_OR_RETURN(const JobRecord job, LoadJob(db, job_id));
    ASSIGN_OR_RETURN(items, PlanRetention(db, job, InUse(), options_.clock()));
    nothing = ChangesNothing(job, items);
    return absl::OkStatus();
  }));
  if (nothing) return items;
  items.clear();
  while (!complete) {
    // Decided again where nothing can come in between.
    RETURN_IF_ERROR(store_.Change([&](Transaction& t) -> absl::Status {
      ASSIGN_OR_RETURN(const JobRecord job, LoadJob(t.db(), job_id));
      const absl::Time now = options_.clock();
      ASSIGN_OR_RETURN(part, PlanRetention(t.db(), job, InUse(), now));
      RETURN_IF_ERROR(StoreDueTimes(t, job, part, now));
      ASSIGN_OR_RETURN(complete, MarkDeleted(t, job_id, part));
      const bool removes = std::any_of(part.begin(), part.end(),
                                       [](const RetentionItem& item) { return item.removed; });
      return removes && record ? record(t) : absl::OkStatus();
    }));
    int taken = 0;
    for (RetentionItem& item : part) {
      if (item.removed ? ++taken <= kMaxRemovals : complete) items.push_back(std::move(item));
    }
  }
  return items;
}

absl::Status Housekeeping::RemoveMarked(const std::string& job_id) {
  std::vector<std::string> ids;
  std::string run_dir;
  RETURN_IF_ERROR(store_.Read([&](Connection& db) -> absl::Status {
    ASSIGN_OR_RETURN(const JobRecord record, LoadJob(db, job_id));
    run_dir = record.job.run_dir();
    ASSIGN_OR_RETURN(ids, ListRemovals(db, job_id));
    return absl::OkStatus();
  }));
  absl::MutexLock lock(&removal_mutex_);
  RETURN_IF_ERROR(EmptyTrash(run_dir));  // after an interrupted removal
  for (const std::string& id : ids) {
    RETURN_IF_ERROR(RemoveCheckpoint(run_dir, id));
    RETURN_IF_ERROR(
        store_.Change([&](Transaction& t) { return DeleteRemoval(t.db(), job_id, id); }));
  }
  return absl::OkStatus();
}

absl::Status Housekeeping::FreeFullDisk(const std::string& job_id) {
  std::string run_dir;
  std::vector<RetentionItem> items;
  RETURN_IF_ERROR(store_.Read([&](Connection& db) -> absl::Status {
    ASSIGN_OR_RETURN(const JobRecord job, LoadJob(db, job_id));
    run_dir = job.job.run_dir();
    ASSIGN_OR_RETURN(items, PlanRetention(db, job, InUse(), options_.clock()));
    return absl::OkStatus();
  }));
  for (const RetentionItem& item : items) {
    if (!item.removed) continue;
    {
      absl::MutexLock lock(&removal_mutex_);
      RETURN_IF_ERROR(RemoveCheckpoint(run_dir, CheckpointId(item.checkpoint.name())));
    }
    RETURN_IF_ERROR(
        store_.Change([&](Transaction& t) { return MarkDeleted(t, job_id, {item}).status(); }));
  }
  return absl::OkStatus();
}

absl::Status Housekeeping::RetainNow(const std::string& job_id) {
  absl::Status removed = MarkRemovals(job_id, nullptr).status();
  if (absl::IsResourceExhausted(removed)) removed = FreeFullDisk(job_id);
  if (removed.ok()) removed = RemoveMarked(job_id);
  // Deleted in between.
  return absl::IsNotFound(removed) ? absl::OkStatus() : removed;
}

absl::StatusOr<Housekeeping::Garbage> Housekeeping::CollectJob(
    const std::string& job_id, bool dry_run,
    const std::function<absl::Status(Transaction&)>& record) {
  Garbage garbage;
  RETURN_IF_ERROR(store_.Read([&](Connection& db) -> absl::Status {
    ASSIGN_OR_RETURN(const JobRecord job, LoadJob(db, job_id));
    ASSIGN_OR_RETURN(const std::vector<std::string> interrupted, ListRemovals(db, job_id));
    for (const std::string& id : interrupted) {
      const std::string path = absl::StrCat(job.job.run_dir(), "/checkpoints/", id);
      if (PathExists(path)) garbage.leftovers.push_back({.path = path, .bytes = BytesIn(path)});
    }
    for (Garbage::Leftover& leftover : TrashIn(job.job.run_dir() + "/.trash"))
      garbage.leftovers.push_back(std::move(leftover));
    if (!dry_run) return absl::OkStatus();
    ASSIGN_OR_RETURN(garbage.checkpoints, PlanRetention(db, job, InUse(), options_.clock()));
    return absl::OkStatus();
  }));
  if (dry_run) return garbage;
  ASSIGN_OR_RETURN(garbage.checkpoints, MarkRemovals(job_id, record));
  RETURN_IF_ERROR(RemoveMarked(job_id));
  return garbage;
}

absl::StatusOr<std::vector<Housekeeping::Garbage::Leftover>> Housekeeping::CollectTrash(
    bool dry_run) {
  std::vector<Garbage::Leftover> leftovers = TrashIn(options_.runs_dir + "/.trash");
  if (dry_run) return leftovers;
  absl::MutexLock lock(&removal_mutex_);
  RETURN_IF_ERROR(EmptyTrash(options_.runs_dir));
  return leftovers;
}

absl::Status Housekeeping::DeleteNow(const std::string& job_id) {
  RETURN_IF_ERROR(options_.before_delete(job_id));
  absl::MutexLock lock(&removal_mutex_);
  RETURN_IF_ERROR(RemoveRunDirectory(absl::StrCat(options_.runs_dir, "/", job_id)));
  return store_.Change([&](Transaction& t) -> absl::Status {
    RETURN_IF_ERROR(CloseLabels(t.db(), job_id, t.last_seq() + 1));
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
    // The worker clears it.
    if (WaitsForCheckpointSpace(record->job)) return absl::OkStatus();
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
  ASSIGN_OR_RETURN(const std::vector<std::string> due, store_.Read([&](Connection& db) {
    return JobsWithDueCheckpoints(db, now, kDueJobsAtOnce);
  }));
  for (const std::string& id : due) Retain(id);
  int expired = kExpireJobsAtOnce;
  while (expired == kExpireJobsAtOnce) {
    RETURN_IF_ERROR(store_.Change([&](Transaction& t) -> absl::Status {
      ASSIGN_OR_RETURN(expired,
                       PruneEvents(t.db(), now - options_.metrics_retention, kExpireJobsAtOnce));
      RETURN_IF_ERROR(PruneRequests(t.db(), now - kRequestRetention));
      return options_.audit_retention > absl::ZeroDuration()
                 ? PruneAudit(t.db(), now - options_.audit_retention)
                 : absl::OkStatus();
    }));
  }
  return absl::OkStatus();
}

}  // namespace trainerd::server
