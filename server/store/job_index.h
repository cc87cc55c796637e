// SPDX-License-Identifier: Apache-2.0
// What lists of jobs are searched and sorted by, in memory: a page of 110,000 jobs takes 1 to 16 ms
// (median of each order and filter in tests/bench, `pages`), and a submitted job costs no index of
// the database for it. About 120 bytes per job.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "server/store/sqlite.h"
#include "trainerd/v1/job.pb.h"

namespace trainerd::server {

// Columns of the table jobs, and the job's labels.
struct IndexedJob {
  int64_t number = 0;
  // Microseconds since 1970; end_time is 0 while the job has not ended.
  int64_t create_time = 0;
  int64_t end_time = 0;
  int32_t priority = 0;
  v1::Job::State state = v1::Job::STATE_UNSPECIFIED;
  // Position in IndexedJobs::owners.
  uint32_t owner = 0;
  uint32_t name_bytes = 0;
  // The name, then each label: its key and value, each with a zero byte behind it.
  std::string text;

  std::string_view name() const { return std::string_view(text).substr(0, name_bytes); }
  // nullopt: the job does not have the label.
  std::optional<std::string_view> Label(std::string_view key) const;
};

struct IndexedJobs {
  // By number.
  std::vector<IndexedJob> jobs;
  // Each once.
  std::vector<std::string> owners;

  // Null: there is no job of this number.
  const IndexedJob* Find(int64_t number) const;
};

// The writer notes which rows change; what changed is read again before a search. Thread-safety:
// all methods may be called from any thread.
class JobIndex {
 public:
  // So many changed jobs are read by the next search without a noticeable delay.
  static constexpr size_t kFewChanges = 256;

  // A change has written this row of jobs and is not committed yet.
  void Note(int64_t number) ABSL_LOCKS_EXCLUDED(notes_mutex_);
  // All changes that were noted are committed or rolled back.
  void EndGroup() ABSL_LOCKS_EXCLUDED(notes_mutex_);
  // Returns at once when it is called first, then once kFewChanges or more jobs have changed since
  // the last search. False: Stop was called.
  bool AwaitChanges() ABSL_LOCKS_EXCLUDED(notes_mutex_);
  void Stop() ABSL_LOCKS_EXCLUDED(notes_mutex_);

  // Returns what `search` returns for the jobs as `db` sees them, an absl::StatusOr<T> or an
  // absl::Status. `db` is in a read transaction that has read nothing yet. One search at a time, so
  // it must be short. Errors: of the database, FailedPrecondition if the transaction has read.
  template <typename Function>
  auto Search(Connection& db, Function search)
      -> std::invoke_result_t<Function, const IndexedJobs&> {
    absl::MutexLock lock(&mutex_);
    absl::Status status = Refresh(db);
    if (!status.ok()) return status;
    return search(jobs_);
  }

 private:
  absl::Status Refresh(Connection& db) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status LoadAll(Connection& db) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status LoadChanged(Connection& db, const std::vector<int64_t>& numbers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  IndexedJob RowOf(const Query& query) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasManyChanges() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(notes_mutex_) {
    return stopping_ || committed_.size() >= awaited_changes_;
  }

  // Held while a transaction begins to read and its changes are applied: a search never sees an
  // older state than an earlier one.
  absl::Mutex mutex_;
  IndexedJobs jobs_ ABSL_GUARDED_BY(mutex_);
  bool loaded_ ABSL_GUARDED_BY(mutex_) = false;

  absl::Mutex notes_mutex_ ABSL_ACQUIRED_AFTER(mutex_);
  // Rows that changes of the current group have written: a transaction may see them or not.
  std::vector<int64_t> noted_ ABSL_GUARDED_BY(notes_mutex_);
  // Rows that were written and not read since.
  absl::flat_hash_set<int64_t> committed_ ABSL_GUARDED_BY(notes_mutex_);
  // Of AwaitChanges. It grows when they cannot be read.
  size_t awaited_changes_ ABSL_GUARDED_BY(notes_mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(notes_mutex_) = false;
};

}  // namespace trainerd::server
