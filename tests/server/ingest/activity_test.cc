// SPDX-License-Identifier: Apache-2.0
// event.proto: Stalled = no step for max(10 × the median step, 5 min).
#include "server/ingest/activity.h"

#include "gtest/gtest.h"

namespace trainerd::server {
namespace {

TEST(ActivityTest, StallsAfterFiveMinutesWithFastSteps) {
  ActivityTable table;
  absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  table.Start("jobs/a", now);
  for (int i = 0; i < 10; ++i) table.Step("jobs/a", absl::Seconds(1), now);
  EXPECT_FALSE(table.IsStalled("jobs/a", now + absl::Seconds(299)));
  EXPECT_TRUE(table.IsStalled("jobs/a", now + absl::Seconds(301)));
  EXPECT_FALSE(table.IsStalled("jobs/other", now + absl::Hours(9)));
}

TEST(ActivityTest, StallsAfterTenMedianStepsWithSlowSteps) {
  ActivityTable table;
  absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  for (int seconds : {60, 60, 60, 1, 600}) table.Step("jobs/a", absl::Seconds(seconds), now);
  EXPECT_FALSE(table.IsStalled("jobs/a", now + absl::Seconds(599)));
  EXPECT_TRUE(table.IsStalled("jobs/a", now + absl::Seconds(601)));
}

}  // namespace
}  // namespace trainerd::server
