// SPDX-License-Identifier: Apache-2.0
// Properties that the masks must have by definition. op_table_test compares the tables.
#include "engine/ops/lora/dropout.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <cmath>

namespace trainerd::engine {
namespace {

at::Tensor Keys(int64_t first, int64_t count) { return at::arange(first, first + count); }

TEST(DropoutTest, ZeroesTheShareAndScalesTheRest) {
  const at::Tensor x = at::ones({400, 257});
  for (const double probability : {0.05, 0.1, 0.5, 0.9}) {
    const at::Tensor y =
        Dropout(x, probability, /*stream=*/3, {.key = 7, .row_keys_T = Keys(0, 400)});
    const double count = static_cast<double>(x.numel());
    const double zeros = static_cast<double>((y == 0).sum().item<int64_t>());
    EXPECT_NEAR(zeros / count, probability,
                5.0 * std::sqrt(probability * (1.0 - probability) / count));
    const float kept = static_cast<float>(1.0 / (1.0 - probability));
    EXPECT_TRUE(at::equal(y, at::where(y == 0, at::zeros_like(y), at::full({400, 257}, kept))));
    // No column and no row is special: each share within 6 deviations.
    for (const int64_t dim : {0, 1}) {
      const double size = static_cast<double>(x.size(dim));
      const double worst =
          ((y == 0).to(at::kDouble).mean(dim) - probability).abs().max().item<double>();
      EXPECT_LT(worst, 6.0 * std::sqrt(probability * (1.0 - probability) / size));
    }
  }
}

TEST(DropoutTest, KeepsEverythingAtProbabilityZero) {
  const at::Tensor x = at::randn({5, 9});
  EXPECT_TRUE(at::equal(Dropout(x, 0.0, 0, {.key = 1, .row_keys_T = Keys(0, 5)}), x));
}

TEST(DropoutTest, DependsOnKeyStreamAndRowAlone) {
  const at::Tensor x = at::ones({64, 48}), keys = Keys(100, 64);
  const auto mask = [&](uint64_t key, uint64_t stream, const at::Tensor& rows) {
    return Dropout(x, 0.5, stream, {.key = key, .row_keys_T = rows});
  };
  const at::Tensor first = mask(1, 2, keys);
  EXPECT_TRUE(at::equal(first, mask(1, 2, keys)));
  EXPECT_FALSE(at::equal(first, mask(2, 2, keys)));
  EXPECT_FALSE(at::equal(first, mask(1, 3, keys)));
  EXPECT_FALSE(at::equal(first, mask(1, 2, keys + 64)));
  // Rows move with their keys: neither the position nor the neighbors of a row matter.
  EXPECT_TRUE(at::equal(mask(1, 2, keys.flip(0).contiguous()), first.flip(0)));
}

TEST(DropoutTest, IsIndependentOfTheNumberOfThreads) {
  const at::Tensor x = at::randn({300, 129});
  const DropoutRows rows{.key = 5, .row_keys_T = Keys(0, 300)};
  at::set_num_threads(1);
  const at::Tensor one = Dropout(x, 0.3, 1, rows);
  at::set_num_threads(2);
  EXPECT_TRUE(at::equal(Dropout(x, 0.3, 1, rows), one));
}

}  // namespace
}  // namespace trainerd::engine
