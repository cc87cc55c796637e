// SPDX-License-Identifier: Apache-2.0
#include "proto/base/process/thread_pool.h"

#include <atomic>
#include <memory>
#include <thread>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

namespace trainerd {
namespace {

TEST(ThreadPoolTest, RunsACallWhileAnotherOneIsBlocked) {
  ThreadPool threads(2);
  absl::Notification blocked, release, done;
  threads.Run([&] {
    blocked.Notify();
    release.WaitForNotification();
  });
  blocked.WaitForNotification();
  threads.Run([&] { done.Notify(); });
  EXPECT_TRUE(done.WaitForNotificationWithTimeout(absl::Seconds(30)));
  release.Notify();
}

TEST(ThreadPoolTest, NeverRunsMoreCallsAtOnceThanItHasThreads) {
  constexpr int kCalls = 200;
  std::atomic<int> running{0}, most{0};
  absl::BlockingCounter left(kCalls);
  ThreadPool threads(3);
  for (int i = 0; i < kCalls; ++i) {
    threads.Run([&] {
      const int now = ++running;
      int before = most;
      while (before < now && !most.compare_exchange_weak(before, now)) {
      }
      std::this_thread::yield();
      --running;
      left.DecrementCount();
    });
  }
  left.Wait();
  EXPECT_LE(most, 3);
}

TEST(ThreadPoolTest, StopWaitsForCallsInProgressAndDropsTheOthers) {
  absl::Notification blocked, release;
  std::atomic<bool> finished{false}, dropped_ran{false};
  ThreadPool threads(1);
  threads.Run([&] {
    blocked.Notify();
    release.WaitForNotification();
    finished = true;
  });
  blocked.WaitForNotification();
  auto token = std::make_shared<int>();
  const std::weak_ptr<int> queued = token;
  threads.Run([&dropped_ran, token = std::move(token)] { dropped_ran = true; });
  std::thread stop([&] { threads.Stop(); });
  while (!queued.expired()) std::this_thread::yield();  // until Stop has dropped the call
  EXPECT_FALSE(finished);
  release.Notify();
  stop.join();
  EXPECT_TRUE(finished);
  threads.Run([&] { dropped_ran = true; });
  threads.Stop();
  EXPECT_FALSE(dropped_ran);
}

TEST(ThreadPoolTest, FinishRunsTheQueuedCalls) {
  constexpr int kCalls = 50;
  std::atomic<int> done{0};
  ThreadPool threads(2);
  for (int i = 0; i < kCalls; ++i) threads.Run([&] { ++done; });
  threads.Finish();
  EXPECT_EQ(done, kCalls);
}

}  // namespace
}  // namespace trainerd
