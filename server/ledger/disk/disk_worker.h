// SPDX-License-Identifier: Apache-2.0
// One thread for work that reads or removes gigabytes (verifying checkpoints, removing run
// directories), so that the reconciler and the API never wait for a disk.
#pragma once

#include <deque>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace trainerd::server {

// Thread-safety: all methods may be called from any thread.
class DiskWorker {
 public:
  DiskWorker() : thread_([this] { Loop(); }) {}
  ~DiskWorker() { Stop(); }
  // Waits for the task in progress, drops the others and ends the thread. The next start of the
  // daemon finds the dropped work again.
  void Stop();

  // Runs `task` after the tasks posted before it. Dropped after Stop.
  void Post(std::function<void()> task);

 private:
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !tasks_.empty() || stopping_;
  }
  void Loop();

  absl::Mutex mutex_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace trainerd::server
