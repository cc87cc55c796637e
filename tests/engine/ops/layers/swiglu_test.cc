// SPDX-License-Identifier: Apache-2.0
// The op in the graph against the same formula through LibTorch's autograd.
#include "engine/ops/layers/swiglu.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/silu.h>
#include <gtest/gtest.h>

namespace trainerd::engine {
namespace {

at::Tensor Formula(const at::Tensor& gate_up) {
  const int64_t size = gate_up.size(1) / 2;
  return at::silu(gate_up.narrow(1, 0, size)) * gate_up.narrow(1, size, size);
}

TEST(SwiGluTest, GradientAgreesWithAutograd) {
  at::manual_seed(6);
  const at::Tensor values = at::randn({5, 14}) * 3.0, d_out = at::randn({5, 7});
  const at::Tensor expected_leaf = values.clone().set_requires_grad(true);
  const at::Tensor expected = Formula(expected_leaf);
  expected.backward(d_out);
  // The backward overwrites the op's input.
  const at::Tensor leaf = values.clone().set_requires_grad(true);
  const Activated actual = SwiGlu(leaf);
  EXPECT_LE((actual.out - expected).abs().max().item<double>(), 1e-5);
  actual.out.backward(d_out);
  EXPECT_LE((leaf.grad() - expected_leaf.grad()).abs().max().item<double>(), 1e-5);
}

TEST(SwiGluTest, RecomputesItsOutputBitForBit) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const Activated actual = SwiGlu(at::randn({6, 38}).to(dtype).set_requires_grad(true));
    ASSERT_NE(actual.recompute, nullptr);
    EXPECT_TRUE(at::equal(actual.recompute(), actual.out.detach()));
  }
}

TEST(SwiGluTest, RecordsNothingWithoutGradientMode) {
  const at::NoGradGuard no_grad;
  const Activated actual = SwiGlu(at::randn({2, 8}));
  EXPECT_FALSE(actual.out.requires_grad());
  EXPECT_EQ(actual.recompute, nullptr);
}

}  // namespace
}  // namespace trainerd::engine
