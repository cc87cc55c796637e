// SPDX-License-Identifier: Apache-2.0
// Frees space: retention of checkpoints, deletion of jobs, expiry of metrics and idempotency keys.
// Also maintains the condition DiskLow. Files are removed before their rows change, so a crash in
// between only repeats the removal.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/base/directory.h"
#include "server/ledger/disk_worker.h"
#include "server/store/store.h"

namespace trainerd::server {

// Thread-safety: all methods may be called from any thread; the work is done on the disk worker.
class Housekeeping {
 public:
  struct Options {
    std::string runs_dir;
    absl::Duration metrics_retention = absl::Hours(720);
    std::function<absl::Time()> clock = [] { return absl::Now(); };
    // Free bytes of the file system that holds a path.
    std::function<absl::StatusOr<int64_t>(const std::string&)> free_bytes = FreeBytes;
  };
  Housekeeping(Options options, Store& store, DiskWorker& disk);

  // Removes the checkpoints of a job that retention does not keep.
  void Retain(const std::string& job_id);
  // Removes a job that is marked `deleting`.
  void Delete(const std::string& job_id);
  // Finishes interrupted deletions, applies the keep_last of paused jobs (that of others is applied
  // when their next attempt starts), and empties the trash.
  absl::Status Recover();
  // Repeats retentions and deletions that failed, for example on a full disk. Cheap without any.
  void RetryFailed();
  // Sets or clears DiskLow of a running job.
  void CheckDisk(const std::string& job_id);
  // Expires events and keys. Cheap without any.
  void Expire();

 private:
  absl::Status RetainNow(const std::string& job_id);
  absl::Status DeleteNow(const std::string& job_id);
  absl::Status CheckDiskNow(const std::string& job_id);
  absl::Status ExpireNow();

  const Options options_;
  Store& store_;
  DiskWorker& disk_;

  absl::Mutex mutex_;
  std::set<std::string> failed_retentions_ ABSL_GUARDED_BY(mutex_);  // job ids
  std::set<std::string> failed_deletions_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trainerd::server
