// SPDX-License-Identifier: Apache-2.0
// Expectations follow from the definition: equal shares of the values, scaled between the smallest
// and largest mean.
#include "client/view/sparkline.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "client/view/text_width.h"

namespace trainerd::client {
namespace {

TEST(SparklineTest, ScalesFromLowestToHighest) {
  EXPECT_EQ(Sparkline({0, 1, 2, 3, 4, 5, 6, 7}, 8), "▁▂▃▄▅▆▇█");
  EXPECT_EQ(Sparkline({7, 0}, 8), "█▁");
  EXPECT_EQ(Sparkline({0, 7}, 8, /*utf8=*/false), "_#");
}

TEST(SparklineTest, AveragesSeveralValuesPerColumn) {
  std::vector<double> falling;
  for (int i = 0; i < 1000; ++i) falling.push_back(1000 - i);
  EXPECT_EQ(Sparkline(falling, 8), "█▇▆▅▄▃▂▁");
  EXPECT_EQ(DisplayWidth(Sparkline(falling, 33)), 33);
}

TEST(SparklineTest, HandlesEmptyAndNonFiniteInput) {
  EXPECT_EQ(Sparkline({}, 10), "");
  EXPECT_EQ(Sparkline({1, 2}, 0), "");
  EXPECT_EQ(Sparkline({3, 3, 3}, 10), "▁▁▁");
  EXPECT_EQ(Sparkline({1, std::numeric_limits<double>::quiet_NaN(), 2}, 3), "▁x█");
}

}  // namespace
}  // namespace trainerd::client
