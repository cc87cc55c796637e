// SPDX-License-Identifier: Apache-2.0
#include "server/events/cursor.h"

#include "gtest/gtest.h"

namespace trainerd::server {
namespace {

TEST(CursorTest, RoundTrips) {
  EXPECT_EQ(*ParseCursor(FormatCursor("00ab", 17), "00ab", 20), 17);
  EXPECT_EQ(*ParseCursor("begin", "00ab", 20), 0);
}

TEST(CursorTest, RefusesTextThatIsNoCursor) {
  for (const char* text : {"", "x", "17", "00ab-", "00ab-x"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseCursor(text, "00ab", 20).status())) << text;
  }
}

TEST(CursorTest, OtherDatabaseOrFutureIsExpired) {
  EXPECT_TRUE(absl::IsOutOfRange(ParseCursor("00ac-17", "00ab", 20).status()));
  const absl::Status future = ParseCursor("00ab-21", "00ab", 20).status();
  EXPECT_TRUE(absl::IsOutOfRange(future));
  EXPECT_TRUE(future.GetPayload("type.googleapis.com/google.rpc.ErrorInfo").has_value());
}

}  // namespace
}  // namespace trainerd::server
