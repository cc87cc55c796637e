// SPDX-License-Identifier: Apache-2.0
#include "server/events/reader_pool.h"

#include <utility>

namespace trainerd::server {

ReaderPool::ReaderPool(int threads) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Loop(); });
}

ReaderPool::~ReaderPool() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

void ReaderPool::Post(std::function<void()> read) {
  absl::MutexLock lock(&mutex_);
  reads_.push_back(std::move(read));
}

void ReaderPool::Loop() {
  while (true) {
    std::function<void()> read;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &ReaderPool::HasWork));
      if (reads_.empty()) return;
      read = std::move(reads_.front());
      reads_.pop_front();
    }
    read();
  }
}

}  // namespace trainerd::server
