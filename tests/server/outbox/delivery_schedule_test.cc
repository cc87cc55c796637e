// SPDX-License-Identifier: Apache-2.0
// 5 s, doubling to 1 h, for 72 h.
#include "server/outbox/delivery_schedule.h"

#include <gtest/gtest.h>

namespace trainerd::server {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
const absl::Time kSteady = absl::FromUnixSeconds(1'000);

NotificationRow NewRow() {
  return {.number = 1, .due = kSteady, .retry_until = kSteady + kRetryFor, .body = "{}"};
}

TEST(BackOffTest, DoublesUpToTheMaximum) {
  EXPECT_EQ(BackOff(1), absl::Seconds(5));
  EXPECT_EQ(BackOff(2), absl::Seconds(10));
  EXPECT_EQ(BackOff(10), absl::Seconds(2560));
  EXPECT_EQ(BackOff(11), absl::Hours(1));
  EXPECT_EQ(BackOff(1'000'000), absl::Hours(1));
  EXPECT_EQ(BackOff(3, absl::Seconds(1), absl::Seconds(3)), absl::Seconds(3));
}

TEST(AfterAttemptTest, ASuccessEndsIt) {
  NotificationRow row = NewRow();
  row.last_error = "HTTP 500";
  const NotificationRow after = AfterAttempt(row, "", {.now = kNow, .steady_now = kSteady});
  EXPECT_EQ(after.state, v1::Notification::DELIVERED);
  EXPECT_EQ(after.attempts, 1);
  EXPECT_EQ(after.end_time, kNow);
  EXPECT_EQ(after.last_error, "");
}

// A receiver that always fails: the times of all attempts.
TEST(AfterAttemptTest, FailuresAreRepeatedFor72Hours) {
  NotificationRow row = NewRow();
  std::vector<absl::Duration> delays;
  absl::Time steady = kSteady;
  while (row.state == v1::Notification::PENDING) {
    row = AfterAttempt(row, "HTTP 500", {.now = kNow, .steady_now = steady});
    ASSERT_LT(row.attempts, 1000);
    if (row.state != v1::Notification::PENDING) break;
    ASSERT_GE(row.due, steady);
    delays.push_back(row.due - steady);
    steady = row.due;
  }
  EXPECT_EQ(row.state, v1::Notification::DEAD);
  EXPECT_EQ(row.last_error, "HTTP 500");
  EXPECT_EQ(row.end_time, kNow);
  EXPECT_EQ(steady, kSteady + kRetryFor) << "the last attempt is at 72 h";
  EXPECT_EQ(delays[0], absl::Seconds(5));
  EXPECT_EQ(delays[1], absl::Seconds(10));
  EXPECT_EQ(delays[10], absl::Hours(1));
  EXPECT_GT(row.attempts, 72);
}

// One that waited behind others for 72 h is attempted once.
TEST(AfterAttemptTest, TheFirstAttemptCanBeTheLast) {
  const NotificationRow after = AfterAttempt(
      NewRow(), "HTTP 500", {.now = kNow, .steady_now = kSteady + kRetryFor + absl::Hours(5)});
  EXPECT_EQ(after.state, v1::Notification::DEAD);
  EXPECT_EQ(after.attempts, 1);
}

TEST(RevivedTest, BeginsAnew) {
  NotificationRow row = NewRow();
  row.state = v1::Notification::DEAD;
  row.attempts = 90;
  const absl::Time steady = kSteady + absl::Hours(100);
  row = Revived(row, {.now = kNow, .steady_now = steady});
  EXPECT_EQ(row.state, v1::Notification::PENDING);
  EXPECT_EQ(row.due, steady);
  row = AfterAttempt(row, "HTTP 500", {.now = kNow, .steady_now = steady});
  EXPECT_EQ(row.state, v1::Notification::PENDING);
  EXPECT_EQ(row.due, steady + kFirstBackOff);
}

}  // namespace
}  // namespace trainerd::server
