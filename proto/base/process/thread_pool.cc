// SPDX-License-Identifier: Apache-2.0
#include "proto/base/process/thread_pool.h"

#include <utility>

namespace trainerd {

void ThreadPool::Run(std::function<void()> call) {
  absl::MutexLock lock(&mutex_);
  if (stopping_) return;
  calls_.push_back(std::move(call));
  const bool all_busy = static_cast<int>(calls_.size()) > idle_;
  if (all_busy && static_cast<int>(threads_.size()) < max_threads_) {
    threads_.emplace_back([this] { Loop(); });
  }
}

void ThreadPool::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    calls_.clear();
  }
  Finish();
}

void ThreadPool::Finish() {
  std::vector<std::thread> threads;
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
}

void ThreadPool::Loop() {
  while (true) {
    std::function<void()> call;
    {
      absl::MutexLock lock(&mutex_);
      ++idle_;
      mutex_.Await(absl::Condition(this, &ThreadPool::HasWork));
      --idle_;
      if (calls_.empty()) return;
      call = std::move(calls_.front());
      calls_.pop_front();
    }
    call();
  }
}

}  // namespace trainerd
