// SPDX-License-Identifier: Apache-2.0
// Threads for calls that can block, such as a database read or a request to a process that does not
// answer. A blocked call holds one thread; the other calls run on the remaining threads.
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace trainerd {

// Thread-safety: all methods may be called from any thread.
class ThreadPool {
 public:
  // Threads start on demand and run until Stop or Finish. At most `max_threads` (1 or more) exist.
  explicit ThreadPool(int max_threads) : max_threads_(max_threads) {}
  ~ThreadPool() { Stop(); }

  // Runs `call` on an idle thread or a new one, and returns at once. Calls wait in order while all
  // `max_threads` threads are busy. After Stop or Finish the call is dropped.
  void Run(std::function<void()> call);
  // Drops the calls that have not begun and waits for the others to return.
  void Stop();
  // Waits until every call has returned, those that have not begun included.
  void Finish();

 private:
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !calls_.empty() || stopping_;
  }
  void Loop();

  const int max_threads_;
  absl::Mutex mutex_;
  std::deque<std::function<void()>> calls_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  int idle_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace trainerd
