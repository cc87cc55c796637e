// SPDX-License-Identifier: Apache-2.0
// 5 s, doubling to 5 min, ±20 %.
#include "server/reconcile/retry_policy.h"

#include "gtest/gtest.h"

namespace trainerd::server {
namespace {

TEST(RetryPolicyTest, DoublesToTheMaximum) {
  const double expected[] = {5, 10, 20, 40, 80, 160, 300, 300};
  for (int retry = 1; retry <= 8; ++retry) {
    EXPECT_EQ(BackoffDelay({}, retry, 0.5), absl::Seconds(expected[retry - 1])) << retry;
  }
  EXPECT_EQ(BackoffDelay({}, 1'000'000, 0.5), absl::Minutes(5));
}

TEST(RetryPolicyTest, SpreadsByTwentyPercent) {
  EXPECT_EQ(BackoffDelay({}, 1, 0.0), absl::Seconds(4));
  EXPECT_LT(BackoffDelay({}, 1, 0.999), absl::Seconds(6));
  EXPECT_GT(BackoffDelay({}, 1, 0.999), absl::Seconds(5.9));
}

}  // namespace
}  // namespace trainerd::server
