// SPDX-License-Identifier: Apache-2.0
// The residual addition without a norm, factors, and the gated GELU, against ATen's own autograd.
#include "engine/ops/layers/residual.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "engine/ops/layers/geglu.h"

namespace trainerd::engine {
namespace {

at::Tensor Leaf(const at::Tensor& data) { return data.clone().requires_grad_(true); }

TEST(AddResidualTest, BothOutputsReachBothInputs) {
  at::manual_seed(1);
  const at::Tensor x = Leaf(at::randn({3, 4})), delta = Leaf(at::randn({3, 4})),
                   d_sum = at::randn({3, 4}), d_next = at::randn({3, 4});
  const AddNormed result = AddResidual(x, delta);
  EXPECT_TRUE(at::equal(result.sum_TD, x + delta));
  EXPECT_TRUE(at::equal(result.normed_TD, x + delta));
  (result.sum_TD * d_sum + result.normed_TD * d_next).sum().backward();
  EXPECT_TRUE(at::equal(x.grad(), d_sum + d_next));
  EXPECT_TRUE(at::equal(delta.grad(), d_sum + d_next));
}

TEST(AddResidualTest, OneUsedOutputIsEnough) {
  const at::Tensor x = Leaf(at::randn({3, 4})), d = at::randn({3, 4});
  AddResidual(x, at::Tensor()).normed_TD.backward(d);
  EXPECT_TRUE(at::equal(x.grad(), d));
}

TEST(ScaleTest, ScalesValueAndGradient) {
  const at::Tensor x = Leaf(at::randn({3, 4})), d = at::randn({3, 4});
  const at::Tensor y = Scale(x, 0.5);
  EXPECT_TRUE(at::equal(y, x * 0.5));
  y.backward(d);
  EXPECT_TRUE(at::equal(x.grad(), d * 0.5));
  EXPECT_TRUE(Scale(x, 1.0).is_same(x));
}

TEST(GeGluTest, EqualsPlainAten) {
  at::manual_seed(1);
  const at::Tensor data = at::randn({5, 14}) * 2.0, d = at::randn({5, 7});
  const at::Tensor plain = Leaf(data), actual = Leaf(data);
  const at::Tensor expected = at::gelu(plain.narrow(1, 0, 7), "tanh") * plain.narrow(1, 7, 7);
  expected.backward(d);
  const Activated activated = GeGlu(actual);
  EXPECT_TRUE(at::equal(activated.out, expected));
  EXPECT_TRUE(at::equal(activated.recompute(), expected));
  activated.out.backward(d);
  EXPECT_TRUE(at::allclose(actual.grad(), plain.grad(), 1e-5, 1e-6));
}

}  // namespace
}  // namespace trainerd::engine
