// SPDX-License-Identifier: Apache-2.0
// One thread for work that reads or removes gigabytes (verifying checkpoints, unlinking run
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
  // Finishes the task that runs and ends the thread; drops the others: each is found again at the
  // next start.
  void Stop();

  void Post(std::function<void()> task);
  // Waits until everything posted so far is done.
  void WaitIdle();

 private:
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !tasks_.empty() || stopping_;
  }
  bool IsIdle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return tasks_.empty() && !busy_; }
  void Loop();

  absl::Mutex mutex_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace trainerd::server
