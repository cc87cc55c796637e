// SPDX-License-Identifier: Apache-2.0
// The thread that moves metrics into columns: of running jobs as they come, of ended ones all, and
// of those that an earlier daemon left. It holds the writer for one short change at a time, and
// pauses between two of them.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "proto/base/process/wake_up.h"
#include "server/store/rows/event_record.h"
#include "server/store/store.h"

namespace trainerd::server {

// Thread-safety: all methods may be called from any thread.
class MetricCompactor {
 public:
  ~MetricCompactor() { Stop(); }

  void Start(Store& store);
  // Returns when the change in progress is stored. Idempotent.
  void Stop();
  // Published events: jobs that have enough of them, or have ended, are due.
  void Note(const std::vector<EventRecord>& records);

 private:
  void Loop();
  // The next jobs to compact, from those that are due and the catch-up.
  absl::StatusOr<std::vector<int64_t>> Next();
  absl::StatusOr<std::vector<int64_t>> TakeDue();
  bool stopping() ABSL_LOCKS_EXCLUDED(mutex_);
  bool has_due() ABSL_LOCKS_EXCLUDED(mutex_);

  // Set by Start. Thread only.
  Store* store_ = nullptr;
  // The catch-up: jobs up to this one were read. Thread only.
  int64_t caught_up_ = 0;
  bool catching_up_ = true;
  // Jobs that have more than the last step took. Thread only.
  std::vector<int64_t> unfinished_;

  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // By name of the job: events with metrics since it was due.
  std::map<std::string, int> counts_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> due_ ABSL_GUARDED_BY(mutex_);
  WakeUp wake_up_;
  std::thread thread_;
};

}  // namespace trainerd::server
