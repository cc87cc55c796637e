// SPDX-License-Identifier: Apache-2.0
// OpTable::low_rank_forward and low_rank_backward of both tables against the formula in fp64, for
// shapes that the CPU's kernels take whole and for shapes that they leave to the reference.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <vector>

#include "engine/ops/op_table.h"

namespace trainerd::engine {
namespace {

struct Shape {
  int64_t tokens, in, rank;
  // Rows of each term's matrix; negative: a matrix without an adapter.
  std::vector<int64_t> outputs;
};

const std::vector<Shape>& Shapes() {
  static const std::vector<Shape> shapes = {
      {1, 16, 16, {16}},       {7, 32, 16, {48, -16, 32}}, {33, 48, 32, {-16, 64}},
      {300, 96, 16, {80, 16}}, {1017, 64, 48, {32}},       {129, 16, 16, {16, 16, 16}},
      {20, 10, 16, {16}},      {20, 16, 4, {16, 32}},      {20, 16, 16, {18}},
  };
  return shapes;
}

struct Inputs {
  LowRankWeights weights{.scale = 0.75};
  at::Tensor x, y, d_y;
};

Inputs Make(const Shape& shape) {
  at::manual_seed(shape.tokens);
  Inputs inputs;
  int64_t width = 0, terms = 0;
  for (const int64_t rows : shape.outputs) terms += rows > 0 ? 1 : 0;
  inputs.weights.a = {at::randn({terms * shape.rank, shape.in}),
                      at::randn({terms * shape.rank, shape.in})};
  for (const int64_t rows : shape.outputs) {
    if (rows > 0) {
      const int64_t first = static_cast<int64_t>(inputs.weights.terms.size()) * shape.rank;
      inputs.weights.terms.push_back(
          {.a = {inputs.weights.a.weight.narrow(0, first, shape.rank),
                 inputs.weights.a.grad.narrow(0, first, shape.rank)},
           .b = {at::randn({rows, shape.rank}), at::randn({rows, shape.rank})},
           .begin = width});
    }
    width += rows > 0 ? rows : -rows;
  }
  inputs.x = at::randn({shape.tokens, shape.in});
  inputs.y = at::randn({shape.tokens, width});
  inputs.d_y = at::randn({shape.tokens, width});
  return inputs;
}

LowRankWeights Copied(const LowRankWeights& weights) {
  LowRankWeights copy = weights;
  copy.a.grad = weights.a.grad.clone();
  for (LowRankTerm& term : copy.terms) term.b.grad = term.b.grad.clone();
  return copy;
}

at::Tensor Double(const at::Tensor& x) { return x.to(at::kDouble); }

void ExpectNear(const at::Tensor& actual, const at::Tensor& expected, const char* what) {
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  const double error = (Double(actual) - expected).abs().max().item<double>();
  EXPECT_LE(error, 2e-6 * (1.0 + expected.abs().max().item<double>())) << what;
}

class LowRankTableTest : public ::testing::TestWithParam<const OpTable*> {};

TEST_P(LowRankTableTest, EqualsTheFormula) {
  for (const Shape& shape : Shapes()) {
    SCOPED_TRACE(shape.tokens);
    const Inputs inputs = Make(shape);
    LowRankWeights weights = Copied(inputs.weights);
    const at::Tensor y = inputs.y.clone(), d_x = at::randn(inputs.x.sizes()), x = Double(inputs.x),
                     d_y = Double(inputs.d_y);
    const at::Tensor d_x_before = Double(d_x);
    const at::Tensor u = GetParam()->low_rank_forward(inputs.x, y, weights);
    GetParam()->low_rank_backward(weights, inputs.d_y, inputs.x, u, d_x);

    at::Tensor expected_y = Double(inputs.y), expected_d_x = d_x_before.clone(),
               a_grad = Double(inputs.weights.a.grad);
    for (size_t i = 0; i < weights.terms.size(); ++i) {
      const LowRankTerm& term = weights.terms[i];
      const int64_t rows = term.b.weight.size(0), first = static_cast<int64_t>(i) * shape.rank;
      const at::Tensor a = Double(term.a.weight), b = Double(term.b.weight),
                       part = at::matmul(x, a.t()) * 0.75, d = d_y.narrow(1, term.begin, rows);
      ExpectNear(u.narrow(1, first, shape.rank), part, "u");
      expected_y.narrow(1, term.begin, rows).add_(at::matmul(part, b.t()));
      const at::Tensor d_u = at::matmul(d, b) * 0.75;
      ExpectNear(term.b.grad, Double(inputs.weights.terms[i].b.grad) + at::matmul(d.t(), part),
                 "d_B");
      a_grad.narrow(0, first, shape.rank).add_(at::matmul(d_u.t(), x));
      expected_d_x.add_(at::matmul(d_u, a));
    }
    ExpectNear(y, expected_y, "y");
    ExpectNear(weights.a.grad, a_grad, "d_A");
    ExpectNear(d_x, expected_d_x, "d_x");
  }
}

TEST_P(LowRankTableTest, LeavesTheInputWithoutGradientAlone) {
  const Inputs inputs = Make({40, 32, 16, {32}});
  LowRankWeights with = Copied(inputs.weights), without = Copied(inputs.weights);
  const at::Tensor u = GetParam()->low_rank_forward(inputs.x, inputs.y.clone(), with);
  GetParam()->low_rank_backward(with, inputs.d_y, inputs.x, u, at::zeros({40, 32}));
  GetParam()->low_rank_backward(without, inputs.d_y, inputs.x, u, at::Tensor());
  EXPECT_TRUE(at::equal(with.a.grad, without.a.grad));
  EXPECT_TRUE(at::equal(with.terms[0].b.grad, without.terms[0].b.grad));
}

INSTANTIATE_TEST_SUITE_P(Tables, LowRankTableTest, ::testing::Values(&CpuOps(), &ReferenceOps()),
                         [](const auto& info) { return std::string(info.param->name); });

// What a row gives does not depend on the rows beside it, nor the sums on the number of threads.
TEST(LowRankKernelTest, GivesTheSameBitsForAnyNeighboursAndThreads) {
  const Inputs inputs = Make({300, 96, 16, {80, 16}});
  const int threads = at::get_num_threads();
  std::vector<at::Tensor> outputs, gradients;
  for (const int count : {1, 2, 3}) {
    at::set_num_threads(count);
    LowRankWeights weights = Copied(inputs.weights);
    const at::Tensor y = inputs.y.clone(), d_x = at::zeros(inputs.x.sizes());
    const at::Tensor u = CpuOps().low_rank_forward(inputs.x, y, weights);
    CpuOps().low_rank_backward(weights, inputs.d_y, inputs.x, u, d_x);
    outputs.push_back(y);
    gradients.push_back(weights.a.grad);
    const at::Tensor few = inputs.y.narrow(0, 3, 50).clone();
    CpuOps().low_rank_forward(inputs.x.narrow(0, 3, 50).contiguous(), few, weights);
    EXPECT_TRUE(at::equal(few, y.narrow(0, 3, 50)));
  }
  at::set_num_threads(threads);
  for (size_t i = 1; i < outputs.size(); ++i) {
    EXPECT_TRUE(at::equal(outputs[i], outputs[0]));
    EXPECT_TRUE(at::equal(gradients[i], gradients[0]));
  }
}

}  // namespace
}  // namespace trainerd::engine
