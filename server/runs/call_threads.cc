// SPDX-License-Identifier: Apache-2.0
#include "server/runs/call_threads.h"

#include <utility>

namespace trainerd::server {

void CallThreads::Run(std::function<void()> call) {
  absl::MutexLock lock(&mutex_);
  if (stopping_) return;
  calls_.push_back(std::move(call));
  const bool all_busy = static_cast<int>(calls_.size()) > idle_;
  if (all_busy && static_cast<int>(threads_.size()) < max_threads_) {
    threads_.emplace_back([this] { Loop(); });
  }
}

void CallThreads::Stop() {
  std::vector<std::thread> threads;
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    calls_.clear();
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
}

void CallThreads::Loop() {
  while (true) {
    std::function<void()> call;
    {
      absl::MutexLock lock(&mutex_);
      ++idle_;
      mutex_.Await(absl::Condition(this, &CallThreads::HasWork));
      --idle_;
      if (stopping_) return;
      call = std::move(calls_.front());
      calls_.pop_front();
    }
    call();
  }
}

}  // namespace trainerd::server
