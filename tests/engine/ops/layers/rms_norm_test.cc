// SPDX-License-Identifier: Apache-2.0
// The op in the graph against the same formula through LibTorch's autograd.
#include "engine/ops/layers/rms_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/rsqrt.h>
#include <gtest/gtest.h>

namespace trainerd::engine {
namespace {

constexpr double kEps = 1e-5;

at::Tensor Leaf(const at::Tensor& values) { return values.clone().set_requires_grad(true); }

double MaxDistance(const at::Tensor& a, const at::Tensor& b) {
  return (a.detach() - b.detach()).abs().max().item<double>();
}

at::Tensor Normed(const at::Tensor& x, const at::Tensor& weight) {
  return weight * (x * at::rsqrt(x.square().mean(-1, /*keepdim=*/true) + kEps));
}

TEST(AddRmsNormTest, GradientsAgreeWithAutograd) {
  at::manual_seed(4);
  const at::Tensor x = at::randn({5, 12}), delta = at::randn({5, 12}), weight = at::randn({12}),
                   d_sum = at::randn({5, 12}), d_normed = at::randn({5, 12});
  const at::Tensor x_expected = Leaf(x), delta_expected = Leaf(delta),
                   weight_expected = Leaf(weight);
  const at::Tensor sum = x_expected + delta_expected, normed = Normed(sum, weight_expected);
  (sum * d_sum + normed * d_normed).sum().backward();

  const WeightAndGrad main{weight, at::full({12}, 0.5)};
  const at::Tensor x_leaf = Leaf(x), delta_leaf = Leaf(delta);
  const AddNormed actual = AddRmsNorm(x_leaf, delta_leaf, main, kEps);
  EXPECT_TRUE(at::equal(actual.sum_TD, sum));
  EXPECT_LE(MaxDistance(actual.normed_TD, normed), 1e-5);
  (actual.sum_TD * d_sum + actual.normed_TD * d_normed).sum().backward();
  EXPECT_LE(MaxDistance(x_leaf.grad(), x_expected.grad()), 1e-5);
  EXPECT_LE(MaxDistance(delta_leaf.grad(), delta_expected.grad()), 1e-5);
  // The gradient is added to what the main gradient holds.
  EXPECT_LE(MaxDistance(main.grad, weight_expected.grad() + 0.5), 1e-5);
}

TEST(AddRmsNormTest, WithoutDeltaNormsItsInput) {
  const at::Tensor x = at::randn({3, 8}), weight = at::randn({8});
  const AddNormed actual = AddRmsNorm(x, at::Tensor(), {weight, at::full({8}, 0.0)}, kEps);
  EXPECT_TRUE(at::equal(actual.sum_TD, x));
  EXPECT_LE(MaxDistance(actual.normed_TD, Normed(x, weight)), 1e-5);
}

TEST(AddRmsNormTest, RecomputesNormedBitForBit) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = at::randn({7, 33}).to(dtype), delta = at::randn({7, 33}).to(dtype);
    const WeightAndGrad weight{at::randn({33}).to(dtype), at::full({33}, 0.0)};
    const AddNormed actual = AddRmsNorm(x, delta, weight, kEps);
    ASSERT_NE(actual.recompute_normed, nullptr);
    EXPECT_TRUE(at::equal(actual.recompute_normed(), actual.normed_TD));
  }
}

TEST(AddRmsNormTest, RecordsNothingWithoutGradientMode) {
  const at::NoGradGuard no_grad;
  const AddNormed actual =
      AddRmsNorm(at::randn({2, 4}), at::randn({2, 4}), {at::randn({4}), at::Tensor()}, kEps);
  EXPECT_FALSE(actual.normed_TD.requires_grad());
  EXPECT_EQ(actual.recompute_normed, nullptr);
}

}  // namespace
}  // namespace trainerd::engine
