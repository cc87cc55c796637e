// SPDX-License-Identifier: Apache-2.0
// Admin.Drain: no attempt starts, and the running jobs return to the queue if the drain requests
// it. It is kept in memory only: the next daemon continues as if there had been none.
#pragma once

#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/store/rows/job_rows.h"

namespace trainerd::server {

// What a drain requests. Times are those of Store::SteadyNow.
struct DrainOrder {
  bool pause_running = false;
  // When pause_running was requested first.
  absl::Time since = absl::InfinitePast();
  // With pause_running; nullopt: limits.stop_grace of each job after `since`.
  std::optional<absl::Time> deadline = std::nullopt;
  bool operator==(const DrainOrder&) const = default;
};

// The drain after another Drain call: it only becomes more severe. Pure.
DrainOrder MergeDrains(const std::optional<DrainOrder>& in_force, const DrainOrder& next);

// What a drain does next with a job whose worker runs.
enum class DrainStep {
  kNone,
  // End the attempt as a pause does, and return the job to the queue.
  kRequeue,
  // The attempt is being ended; it must have ended earlier than requested so far.
  kShorten,
};
// A job that saves its final model may finish until its deadline. Pure.
DrainStep NextDrainStep(const JobRecord& record, const DrainOrder& order, absl::Time now);
// When the attempt of this job must have ended.
absl::Time DrainDeadline(const JobRecord& record, const DrainOrder& order);

// Why the newest attempt of the job is ended, or was, so that the job returns to the queue. Also
// of a row of an earlier version, where a drain is a preemption that names no other job.
internal::RequeueReason RequeueReasonOf(const internal::JobLedger& ledger);

// The drain in force, if any. Thread-safe.
class DaemonDrain {
 public:
  bool in_force() const { return order().has_value(); }
  std::optional<DrainOrder> order() const {
    absl::MutexLock lock(&mutex_);
    return order_;
  }
  void Set(std::optional<DrainOrder> order) {
    absl::MutexLock lock(&mutex_);
    order_ = order;
  }

 private:
  mutable absl::Mutex mutex_;
  std::optional<DrainOrder> order_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace trainerd::server
