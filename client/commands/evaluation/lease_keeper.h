// SPDX-License-Identifier: Apache-2.0
// Renews the lease of one evaluation while a command works on it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/commands/common/context.h"
#include "proto/base/process/wake_up.h"
#include "trainerd/v1/evaluation.pb.h"

namespace trainerd::client {

// Renews on a thread and a connection of its own, three times within each lease. Thread-safety:
// IsLost may be called from any thread.
class LeaseKeeper {
 public:
  struct Lease {
    // Of the evaluation.
    std::string name;
    std::string id;
    absl::Duration duration;
    // Of SteadyNow: when the lease was requested.
    absl::Time since;
  };
  LeaseKeeper(Lease lease, const Context& context);
  ~LeaseKeeper();

  // Whether the work must stop: another evaluator has the lease, the evaluation has ended, or the
  // lease has expired while the daemon could not be reached.
  bool IsLost() const;
  // Why; empty: it is not lost.
  std::string Reason() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Loop();
  void Lose(const std::string& reason) ABSL_LOCKS_EXCLUDED(mutex_);

  const Lease lease_;
  const Context& context_;
  std::atomic<int64_t> valid_until_;  // microseconds of SteadyNow
  std::atomic<bool> stopping_{false};
  std::atomic<bool> lost_{false};
  mutable absl::Mutex mutex_;
  std::string reason_ ABSL_GUARDED_BY(mutex_);
  WakeUp wake_up_;
  std::thread thread_;
};

}  // namespace trainerd::client
