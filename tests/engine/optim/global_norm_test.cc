// SPDX-License-Identifier: Apache-2.0
// Values against fp64; the same bits for any thread count; nothing that is not finite is lost.
#include "engine/optim/global_norm.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace trainerd::engine {
namespace {

TEST(GlobalNormTest, EqualsDoublePrecision) {
  for (int64_t count : {1, 17, 65536, 300001}) {
    const at::Tensor x = at::randn({count});
    const double expected = std::sqrt(x.to(at::kDouble).square().sum().item<double>());
    EXPECT_NEAR(GlobalNorm(x).item<double>(), expected, 1e-6 * expected);
  }
  EXPECT_EQ(GlobalNorm(at::zeros({100})).item<float>(), 0.0f);
}

TEST(GlobalNormTest, SameBitsForAnyThreadCount) {
  const at::Tensor x = at::randn({1 << 19});
  at::set_num_threads(1);
  const at::Tensor one = GlobalNorm(x);
  at::set_num_threads(2);
  EXPECT_TRUE(at::equal(GlobalNorm(x), one));
}

TEST(GlobalNormTest, ReportsOneNonFiniteGradient) {
  at::Tensor x = at::zeros({200000});
  x[123456] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(std::isfinite(GlobalNorm(x).item<float>()));
  x[123456] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(std::isfinite(GlobalNorm(x).item<float>()));
}

}  // namespace
}  // namespace trainerd::engine
