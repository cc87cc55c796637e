// SPDX-License-Identifier: Apache-2.0
// When each running job made its last step and how long its steps take: what the condition Stalled
// is decided by.
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
  // The job begins or goes on; its silence counts from now.
  void Start(const std::string& job, absl::Time now);
  void Step(const std::string& job, absl::Duration step_time, absl::Time now);
  void Forget(const std::string& job);
  // No step for max(10 × the median step, 5 min).
  bool IsStalled(const std::string& job, absl::Time now) const;

 private:
  struct Activity {
    absl::Time last;
    std::deque<absl::Duration> recent;  // newest last, bounded
  };
  mutable absl::Mutex mutex_;
  std::map<std::string, Activity> jobs_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trainerd::server
