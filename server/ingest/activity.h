// SPDX-License-Identifier: Apache-2.0
// The time of each running job's last step and the duration of its recent steps. The condition
// Stalled depends on them.
#pragma once

#include <deque>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace trainerd::server {

// Thread-safety: all methods may be called from any thread.
class ActivityTable {
 public:
  // The job starts or resumes: the time without a step counts from `now`.
  void Start(const std::string& job, absl::Time now);
  void Step(const std::string& job, absl::Duration step_time, absl::Time now);
  void Forget(const std::string& job);
  // No step for max(10 × the median step time, 5 min).
  bool IsStalled(const std::string& job, absl::Time now) const;

 private:
  struct Activity {
    absl::Time last;
    // Newest last, bounded.
    std::deque<absl::Duration> recent;
  };
  mutable absl::Mutex mutex_;
  std::map<std::string, Activity> jobs_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trainerd::server
