// SPDX-License-Identifier: Apache-2.0
// Loss and gradients with a scale and a soft cap of the logits, against the formulas in plain ATen
// with ATen's own autograd.
#include "engine/ops/cross_entropy.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

namespace trainerd::engine {
namespace {

double Distance(const at::Tensor& actual, const at::Tensor& expected) {
  return (actual - expected).norm().item<double>() / expected.norm().item<double>();
}

TEST(LinearCrossEntropyTest, ScalesAndCapsTheLogits) {
  at::manual_seed(2);
  const int64_t rows = 23, size = 8, vocabulary = 31;
  const at::Tensor data = at::randn({rows, size}), matrix = at::randn({vocabulary, size}),
                   targets = at::randint(vocabulary, {rows}, at::TensorOptions().dtype(at::kLong));
  for (const LogitsOptions& logits :
       {LogitsOptions{}, LogitsOptions{.scale = 0.4}, LogitsOptions{.soft_cap = 2.0},
        LogitsOptions{.scale = 1.7, .soft_cap = 3.0}}) {
    SCOPED_TRACE(::testing::Message() << logits.scale << " " << logits.soft_cap);
    const at::Tensor hidden = data.clone().requires_grad_(true),
                     weight = matrix.clone().requires_grad_(true);
    at::Tensor expected = at::matmul(hidden, weight.t()) * logits.scale;
    if (logits.soft_cap > 0) expected = at::tanh(expected / logits.soft_cap) * logits.soft_cap;
    const at::Tensor loss = -at::log_softmax(expected, 1).gather(1, targets.unsqueeze(1)).sum();
    (loss * 0.25).backward();

    const WeightAndGrad head{matrix, at::zeros(matrix.sizes())};
    EXPECT_LE(Distance(HeadLogits(data, matrix, logits), expected.detach()), 1e-6);
    // Chunks of 5 rows.
    const LinearCrossEntropyResult result = LinearCrossEntropy(
        data.clone().requires_grad_(true), targets, head,
        {.logits = logits, .gradient_scale = 0.25, .buffer_elements = 5 * vocabulary});
    EXPECT_NEAR(result.loss_sum.item<double>(), loss.item<double>(), 1e-5 * loss.item<double>());
    EXPECT_LE(Distance(result.d_hidden_RD, hidden.grad()), 1e-5);
    EXPECT_LE(Distance(head.grad, weight.grad()), 1e-5);
  }
}

}  // namespace
}  // namespace trainerd::engine
