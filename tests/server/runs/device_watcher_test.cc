// SPDX-License-Identifier: Apache-2.0
// The daemon learns of a device that appears, fails or recovers after its start.
#include "server/runs/device_watcher.h"

#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trainerd::server {
namespace {

using ::testing::IsEmpty;
using Answer = absl::StatusOr<std::vector<v1::Device>>;

v1::Device Gpu(const std::string& unavailable) {
  v1::Device device;
  device.set_name("cuda:0");
  device.set_unavailable(unavailable);
  return device;
}

class DeviceWatcherTest : public ::testing::Test {
 protected:
  // A watcher that waits for a request after each query, and whose worker gives `answer_`.
  DeviceWatcher::Options Options() {
    return {.query = [this]() -> Answer {
              absl::MutexLock lock(&mutex_);
              return answer_;
            },
            .on_answer =
                [this] {
                  absl::MutexLock lock(&mutex_);
                  ++answers_;
                },
            .retry_after = absl::InfiniteDuration(),
            .unavailable_every = absl::InfiniteDuration(),
            .every = absl::InfiniteDuration()};
  }
  void SetAnswer(Answer answer) {
    absl::MutexLock lock(&mutex_);
    answer_ = std::move(answer);
  }
  // Waits until `count` queries have been answered.
  bool WaitForAnswers(int count) {
    absl::MutexLock lock(&mutex_);
    const auto arrived = [this, count]()
                             ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return answers_ >= count; };
    return mutex_.AwaitWithTimeout(absl::Condition(&arrived), absl::Seconds(60));
  }

  absl::Mutex mutex_;
  Answer answer_ ABSL_GUARDED_BY(mutex_) = std::vector<v1::Device>{Gpu("no driver")};
  int answers_ ABSL_GUARDED_BY(mutex_) = 0;
  DeviceTable devices_;
};

TEST_F(DeviceWatcherTest, QueriesAgainOnRequest) {
  DeviceWatcher watcher(Options(), devices_);
  watcher.Start();
  ASSERT_TRUE(WaitForAnswers(1));
  EXPECT_EQ(devices_.Find("cuda:0")->unavailable(), "no driver");
  SetAnswer(std::vector<v1::Device>{Gpu("")});
  watcher.QueryNow();
  ASSERT_TRUE(WaitForAnswers(2));
  EXPECT_EQ(devices_.Find("cuda:0")->unavailable(), "");
}

TEST_F(DeviceWatcherTest, RepeatsWhileADeviceIsUnavailable) {
  DeviceWatcher::Options options = Options();
  options.unavailable_every = absl::Milliseconds(1);
  DeviceWatcher watcher(std::move(options), devices_);
  watcher.Start();
  ASSERT_TRUE(WaitForAnswers(3));
  SetAnswer(std::vector<v1::Device>{Gpu("")});
  const absl::Time deadline = absl::Now() + absl::Seconds(60);
  while (!devices_.Find("cuda:0")->unavailable().empty() && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_THAT(devices_.Find("cuda:0")->unavailable(), IsEmpty());
}

TEST_F(DeviceWatcherTest, RepeatsWhileEveryDeviceIsAvailable) {
  DeviceWatcher::Options options = Options();
  options.every = absl::Milliseconds(1);
  SetAnswer(std::vector<v1::Device>{Gpu("")});
  DeviceWatcher watcher(std::move(options), devices_);
  watcher.Start();
  ASSERT_TRUE(WaitForAnswers(2));
  SetAnswer(std::vector<v1::Device>{Gpu("fell off the bus")});
  const absl::Time deadline = absl::Now() + absl::Seconds(60);
  while (devices_.Find("cuda:0")->unavailable().empty() && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_EQ(devices_.Find("cuda:0")->unavailable(), "fell off the bus");
}

TEST_F(DeviceWatcherTest, RetriesUntilTheFirstAnswer) {
  SetAnswer(absl::InternalError("libfoo.so is missing"));
  DeviceWatcher::Options options = Options();
  options.retry_after = absl::Milliseconds(1);
  DeviceWatcher watcher(std::move(options), devices_);
  watcher.Start();
  ASSERT_TRUE(WaitForAnswers(2));
  EXPECT_FALSE(devices_.known());
  EXPECT_THAT(devices_.problem(), ::testing::HasSubstr("libfoo.so is missing"));
}

// Jobs keep starting on what is known.
TEST_F(DeviceWatcherTest, KeepsDevicesWhenALaterQueryFails) {
  DeviceWatcher watcher(Options(), devices_);
  watcher.Start();
  ASSERT_TRUE(WaitForAnswers(1));
  SetAnswer(absl::DeadlineExceededError("the machine is busy"));
  watcher.QueryNow();
  ASSERT_TRUE(WaitForAnswers(2));
  EXPECT_TRUE(devices_.known());
  EXPECT_THAT(devices_.problem(), IsEmpty());
}

}  // namespace
}  // namespace trainerd::server
