// SPDX-License-Identifier: Apache-2.0
#include "proto/base/process/wake_up.h"

#include <atomic>
#include <thread>

#include "gtest/gtest.h"
#include "proto/base/time.h"

namespace trainerd {
namespace {

TEST(WakeUpTest, SleepsForTheTime) {
  WakeUp wake_up;
  const absl::Time begin = SteadyNow();
  wake_up.SleepFor(absl::Milliseconds(20));
  EXPECT_GE(SteadyNow() - begin, absl::Milliseconds(20));
  wake_up.SleepFor(-absl::InfiniteDuration());
}

TEST(WakeUpTest, WakesASleeper) {
  WakeUp wake_up;
  std::atomic<bool> asked{false};
  std::thread other([&] {
    asked = true;
    wake_up.Wake();
  });
  wake_up.SleepFor(absl::InfiniteDuration());
  EXPECT_TRUE(asked);
  other.join();
}

TEST(WakeUpTest, RemembersAWakeBeforeTheSleepOnce) {
  WakeUp wake_up;
  wake_up.Wake();
  wake_up.Wake();
  wake_up.SleepFor(absl::InfiniteDuration());
  const absl::Time begin = SteadyNow();
  wake_up.SleepFor(absl::Milliseconds(20));
  EXPECT_GE(SteadyNow() - begin, absl::Milliseconds(20)) << "the wake was used up";
}

}  // namespace
}  // namespace trainerd
