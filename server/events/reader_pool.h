// SPDX-License-Identifier: Apache-2.0
// A few threads for database reads of watchers, so that the fan-out thread never waits for a disk.
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace trainerd::server {

// Thread-safety: all methods may be called from any thread.
class ReaderPool {
 public:
  explicit ReaderPool(int threads);
  // Runs everything that was posted, then ends the threads.
  ~ReaderPool();

  // Runs `read` on one of the threads, in the order of posting. The queue has no limit of its own:
  // each watcher has at most one read in it, and the number of watchers is limited.
  void Post(std::function<void()> read);

 private:
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !reads_.empty() || stopping_;
  }
  void Loop();

  absl::Mutex mutex_;
  std::deque<std::function<void()>> reads_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace trainerd::server
