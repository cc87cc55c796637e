// SPDX-License-Identifier: Apache-2.0
#include "engine/data/batches/selection.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "gtest/gtest.h"

namespace trainerd::engine {
namespace {

CounterRng Rng(int64_t seed, int64_t stream = 0) {
  return CounterRng(seed, RngPurpose::kValidationSplit, stream);
}

int64_t Sum(const std::vector<int32_t>& copies) {
  return std::accumulate(copies.begin(), copies.end(), int64_t{0});
}

TEST(SelectionTest, ChoosesExactlySoManyInOrderWithoutRepeats) {
  for (const int64_t chosen : {0, 1, 30, 99, 100}) {
    const std::vector<int64_t> got = ChooseSeeded(100, chosen, Rng(3));
    EXPECT_EQ(static_cast<int64_t>(got.size()), chosen);
    EXPECT_TRUE(std::is_sorted(got.begin(), got.end()));
    EXPECT_EQ(std::set<int64_t>(got.begin(), got.end()).size(), got.size());
  }
  EXPECT_EQ(ChooseSeeded(3, 9, Rng(3)), (std::vector<int64_t>{0, 1, 2}));
}

TEST(SelectionTest, DependsOnSeedAndStream) {
  EXPECT_EQ(ChooseSeeded(1000, 100, Rng(1)), ChooseSeeded(1000, 100, Rng(1)));
  EXPECT_NE(ChooseSeeded(1000, 100, Rng(1)), ChooseSeeded(1000, 100, Rng(2)));
  EXPECT_NE(ChooseSeeded(1000, 100, Rng(1, 0)), ChooseSeeded(1000, 100, Rng(1, 1)));
}

TEST(SelectionTest, WeightsBecomeCopies) {
  EXPECT_EQ(Sum(CopiesForWeight(100, 0.25, Rng(1))), 25);
  EXPECT_EQ(Sum(CopiesForWeight(100, 1, Rng(1))), 100);
  EXPECT_EQ(Sum(CopiesForWeight(100, 2.5, Rng(1))), 250);
  EXPECT_EQ(Sum(CopiesForWeight(3, 0.01, Rng(1))), 1)
      << "a file in the list contributes at least one example";
  EXPECT_TRUE(CopiesForWeight(0, 0.5, Rng(1)).empty());
  for (const int32_t copies : CopiesForWeight(50, 2.5, Rng(1)))
    EXPECT_TRUE(copies == 2 || copies == 3);
}

TEST(CounterRngTest, ValuesArePureFunctionsOfTheirKey) {
  const CounterRng rng(7, RngPurpose::kRowOrder, 3);
  EXPECT_EQ(rng.At(5), CounterRng(7, RngPurpose::kRowOrder, 3).At(5));
  EXPECT_NE(rng.At(5), CounterRng(7, RngPurpose::kRowOrder, 4).At(5));
  EXPECT_NE(rng.At(5), CounterRng(7, RngPurpose::kSourceWeight, 3).At(5));
  EXPECT_NE(rng.At(5), CounterRng(8, RngPurpose::kRowOrder, 3).At(5));
  // Written down once: a change would silently reorder every run that is resumed.
  EXPECT_EQ(CounterRng(42, RngPurpose::kRowOrder, 0).At(0), 1581913778274440802u);
}

TEST(CounterRngTest, BelowStaysBelow) {
  const CounterRng rng(1, RngPurpose::kRowOrder, 0);
  for (uint64_t i = 0; i < 10000; ++i) EXPECT_LT(rng.Below(i, 1 + i % 17), 1 + i % 17);
}

}  // namespace
}  // namespace trainerd::engine
