// SPDX-License-Identifier: Apache-2.0
#include "proto/base/format.h"

#include <limits>

#include "absl/strings/numbers.h"
#include "gtest/gtest.h"

namespace trainerd {
namespace {

TEST(FormatTest, PrintsBytesInBinaryUnits) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1024), "1.0 KiB");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatBytes(int64_t{120} << 20), "120 MiB");
  EXPECT_EQ(FormatBytes(int64_t{5} << 29), "2.5 GiB");
  EXPECT_EQ(FormatBytes(int64_t{3} << 40), "3.0 TiB");
  EXPECT_EQ(FormatBytes(std::numeric_limits<int64_t>::max()), "8192 PiB");
  EXPECT_EQ(FormatBytes(-2048), "-2.0 KiB");
}

TEST(FormatTest, CountsWithSingularAndPlural) {
  EXPECT_EQ(Counted(0, "step"), "0 steps");
  EXPECT_EQ(Counted(1, "step"), "1 step");
  EXPECT_EQ(Counted(12345, "target token"), "12,345 target tokens");
  EXPECT_EQ(Counted(1, "entry", "entries"), "1 entry");
  EXPECT_EQ(Counted(2, "entry", "entries"), "2 entries");
}

TEST(FormatTest, PrintsSpanWithTwoUnits) {
  EXPECT_EQ(FormatSpan(absl::Seconds(45)), "45s");
  EXPECT_EQ(FormatSpan(absl::Milliseconds(59'600)), "1m00s");
  EXPECT_EQ(FormatSpan(absl::Seconds(200)), "3m20s");
  EXPECT_EQ(FormatSpan(absl::Hours(2) + absl::Minutes(5)), "2h05m");
  EXPECT_EQ(FormatSpan(absl::Hours(76)), "3d04h");
  EXPECT_EQ(FormatSpan(absl::Seconds(-3)), "0s");
  EXPECT_EQ(FormatSpan(absl::InfiniteDuration()), "inf");
}

TEST(FormatTest, PrintsShortestDigitsThatReadBack) {
  EXPECT_EQ(FormatShortest(0.1), "0.1");
  EXPECT_EQ(FormatShortest(0.1f), "0.1");
  EXPECT_EQ(FormatShortest(1e-5), "1e-05");
  EXPECT_EQ(FormatShortest(0.0), "0");
  for (const double value : {1.0 / 3, 2.2250738585072014e-308, 123456789.125, -6.02214076e23}) {
    double back = 0;
    ASSERT_TRUE(absl::SimpleAtod(FormatShortest(value), &back));
    EXPECT_EQ(back, value);
  }
}

}  // namespace
}  // namespace trainerd
