// SPDX-License-Identifier: Apache-2.0
#include "engine/model/random_fill.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>

namespace trainerd::engine {
namespace {

// An odd count: the last pair of normal numbers is half used.
at::Tensor Filled(void (*fill)(const at::Tensor&, uint64_t, double), uint64_t key, double size) {
  at::Tensor target = at::zeros({100'001});
  fill(target, key, size);
  return target;
}

TEST(RandomFillTest, DependsOnTheKeyAlone) {
  const int threads = at::get_num_threads();
  for (const auto fill : {FillNormal, FillUniform}) {
    const at::Tensor first = Filled(fill, 7, 0.02);
    at::set_num_threads(1);
    EXPECT_TRUE(at::equal(first, Filled(fill, 7, 0.02)));
    at::set_num_threads(threads);
    EXPECT_FALSE(at::equal(first, Filled(fill, 8, 0.02)));
  }
}

TEST(RandomFillTest, HasTheDistribution) {
  const at::Tensor normal = Filled(FillNormal, 3, 0.02), uniform = Filled(FillUniform, 3, 0.5);
  EXPECT_NEAR(normal.mean().item<double>(), 0.0, 3e-4);
  EXPECT_NEAR(normal.std().item<double>(), 0.02, 3e-4);
  EXPECT_NEAR(uniform.mean().item<double>(), 0.0, 5e-3);
  EXPECT_NEAR(uniform.std().item<double>(), 1.0 / std::sqrt(12.0), 5e-3);
  EXPECT_LT(uniform.abs().max().item<double>(), 0.5);
}

}  // namespace
}  // namespace trainerd::engine
