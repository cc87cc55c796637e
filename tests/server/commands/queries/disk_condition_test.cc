// SPDX-License-Identifier: Apache-2.0
#include "server/commands/queries/disk_condition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/base/free_space.h"
#include "proto/base/time.h"

namespace trainerd::server {
namespace {

TEST(DiskConditionTest, IsActiveBelowTheLimitSinceTheFirstCheck) {
  absl::StatusOr<int64_t> free = kLeastFreeBytes;
  DiskCondition disk("/state", [&](const std::string& path) {
    EXPECT_EQ(path, "/state");
    return free;
  });
  const absl::Time begin = absl::FromUnixSeconds(1'900'000'000);
  EXPECT_FALSE(disk.Check(begin).has_value());
  free = kLeastFreeBytes - 1;
  std::optional<v1::Job::Condition> condition = disk.Check(begin + absl::Seconds(1));
  ASSERT_TRUE(condition.has_value());
  EXPECT_EQ(condition->type(), "DiskLow");
  EXPECT_TRUE(condition->active());
  EXPECT_THAT(condition->message(), ::testing::HasSubstr("/state"));
  condition = disk.Check(begin + absl::Seconds(9));
  EXPECT_EQ(FromProto(condition->since()), begin + absl::Seconds(1));
  free = absl::UnavailableError("no answer");
  EXPECT_FALSE(disk.Check(begin + absl::Seconds(10)).has_value());
  free = 0;
  EXPECT_EQ(FromProto(disk.Check(begin + absl::Seconds(11))->since()), begin + absl::Seconds(11));
}

}  // namespace
}  // namespace trainerd::server
