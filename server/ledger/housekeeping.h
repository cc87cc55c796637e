// SPDX-License-Identifier: Apache-2.0
// Frees space: retention of checkpoints, deletion of jobs, expiry of metrics and idempotency keys.
// Also maintains the condition DiskLow. A checkpoint is marked as deleted before its files are
// removed, in the transaction that decides it, so no command can begin to use it in between. What a
// crash interrupts is recorded and finished at the next start (store/rows/retention_rows.h).
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/base/directory.h"
#include "server/ledger/disk/disk_worker.h"
#include "server/ledger/ledger.h"
#include "server/store/store.h"

namespace trainerd::server {

// Thread-safety: all methods may be called from any thread; the work is done on the disk worker,
// that of CollectGarbage by the caller.
class Housekeeping {
 public:
  struct Options {
    std::string runs_dir;
    absl::Duration metrics_retention = absl::Hours(720);
    // Zero: audit entries are kept forever.
    absl::Duration audit_retention = absl::ZeroDuration();
    // Removes abandoned uploads.
    std::function<absl::Status()> expire_uploads = [] { return absl::OkStatus(); };
    std::function<absl::Time()> clock = [] { return absl::Now(); };
    // Ends what must end before the run directory of a job is removed, for example its evaluations.
    std::function<absl::Status(const std::string& job_id)> before_delete = [](const std::string&) {
      return absl::OkStatus();
    };
    // Free bytes of the file system that holds a path.
    std::function<absl::StatusOr<int64_t>(const std::string&)> free_bytes = FreeBytes;
    // Names of checkpoints that clients download.
    std::function<std::set<std::string>()> in_use = [] { return std::set<std::string>(); };
  };
  Housekeeping(Options options, Store& store, DiskWorker& disk);

  // Removes the checkpoints of a job that retention does not keep.
  void Retain(const std::string& job_id);
  // Removes a job that is marked `deleting`.
  void Delete(const std::string& job_id);
  // Finishes interrupted deletions, applies the retention of paused jobs (that of others is applied
  // when their next attempt starts), and empties the trash.
  absl::Status Recover();
  // Repeats retentions and deletions that failed, for example on a full disk. Cheap without any.
  void RetryFailed();
  // Keeps the checkpoint (its resource name) while a call reads it; each Hold needs a Release.
  void Hold(const std::string& checkpoint);
  void Release(const std::string& checkpoint);
  // Sets or clears DiskLow of a running job.
  void CheckDisk(const std::string& job_id);
  // Expires events, keys and uploads, and checkpoints whose time has come. Cheap without any.
  void Expire();

  struct Garbage {
    // What retention decides for each checkpoint.
    std::vector<RetentionItem> checkpoints;
    // Files of interrupted removals.
    struct Leftover {
      std::string path;
      int64_t bytes = 0;
    };
    std::vector<Leftover> leftovers;
  };
  // Removes at once what retention does not keep of a job, and its leftovers. With `dry_run` it
  // removes nothing. `record`, unless empty, is called in each transaction that marks checkpoints.
  // Errors: NotFound; of the database; of removing files, which is repeated later.
  absl::StatusOr<Garbage> CollectJob(const std::string& job_id, bool dry_run,
                                     const std::function<absl::Status(Transaction&)>& record);
  // The same for what deleted jobs left.
  absl::StatusOr<std::vector<Garbage::Leftover>> CollectTrash(bool dry_run);

 private:
  std::set<std::string> InUse();
  absl::Status RetainNow(const std::string& job_id);
  // Marks what retention does not keep and returns the decision. Errors: NotFound; of the database.
  absl::StatusOr<std::vector<RetentionItem>> MarkRemovals(
      const std::string& job_id, const std::function<absl::Status(Transaction&)>& record);
  absl::Status RemoveMarked(const std::string& job_id);
  // Where the database cannot grow: removes the files first. No command can begin to use them,
  // because none can be stored.
  absl::Status FreeFullDisk(const std::string& job_id);
  absl::Status DeleteNow(const std::string& job_id);
  absl::Status CheckDiskNow(const std::string& job_id);
  absl::Status ExpireNow();

  const Options options_;
  Store& store_;
  DiskWorker& disk_;

  // Held while files are removed: two removals of one folder would disturb each other.
  absl::Mutex removal_mutex_;
  absl::Mutex mutex_;
  std::set<std::string> failed_retentions_ ABSL_GUARDED_BY(mutex_);  // job ids
  std::set<std::string> failed_deletions_ ABSL_GUARDED_BY(mutex_);
  std::multiset<std::string> held_ ABSL_GUARDED_BY(mutex_);  // names of checkpoints
};

}  // namespace trainerd::server
