// SPDX-License-Identifier: Apache-2.0
// What frees space: retention of checkpoints, deletion of jobs, expiry of metrics and idempotency
// keys; and the condition DiskLow. Files are removed before the row says so: after a crash in
// between the removal is simply repeated.
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

  // Removes what retention no longer keeps of a job.
  void Retain(const std::string& job_id);
  // Removes a job whose row says `deleting`.
  void Delete(const std::string& job_id);
  // Finishes deletions that a crash interrupted, and empties the trash.
  absl::Status Recover();
  // Does again what failed, for example because the disk was full; cheap when nothing did.
  void RetryFailed();
  // Sets or clears DiskLow of a job that runs.
  void CheckDisk(const std::string& job_id);
  // Expires events and keys; cheap when there is nothing to do.
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
