// SPDX-License-Identifier: Apache-2.0
#include "proto/base/time.h"

#include "google/protobuf/util/time_util.h"
#include "gtest/gtest.h"

namespace trainerd {
namespace {

using google::protobuf::util::TimeUtil;

TEST(TimeTest, KeepsNanosecondsOfTimestamps) {
  const absl::Time time = absl::FromUnixSeconds(1'800'000'000) + absl::Nanoseconds(123'456'789);
  EXPECT_EQ(TimeUtil::ToString(ToProto(time)), "2027-01-15T08:00:00.123456789Z");
  EXPECT_EQ(FromProto(ToProto(time)), time);
}

TEST(TimeTest, ConvertsTimesBefore1970) {
  const absl::Time time = absl::UnixEpoch() - absl::Milliseconds(250);
  EXPECT_EQ(TimeUtil::ToString(ToProto(time)), "1969-12-31T23:59:59.750Z");
  EXPECT_EQ(FromProto(ToProto(time)), time);
}

TEST(TimeTest, SaturatesTimesThatTimestampCannotHold) {
  EXPECT_EQ(TimeUtil::ToString(ToProto(absl::InfiniteFuture())), "2262-04-11T23:47:16.854775807Z");
}

TEST(TimeTest, ReadsTimestampsBeyondInt64Nanoseconds) {
  google::protobuf::Timestamp time;
  ASSERT_TRUE(TimeUtil::FromString("9999-12-31T23:59:59Z", &time));
  EXPECT_EQ(FromProto(time), absl::FromUnixSeconds(253402300799));
}

TEST(TimeTest, ConvertsDurationsOfBothSigns) {
  const absl::Duration duration = absl::Seconds(-3) - absl::Nanoseconds(7);
  EXPECT_EQ(ToProto(duration).seconds(), -3);
  EXPECT_EQ(ToProto(duration).nanos(), -7);
  EXPECT_EQ(FromProto(ToProto(duration)), duration);
  const absl::Duration longest = absl::Seconds(315'576'000'000);  // of protobuf: 10,000 years
  EXPECT_EQ(FromProto(ToProto(longest)), longest);
}

}  // namespace
}  // namespace trainerd
