// SPDX-License-Identifier: Apache-2.0
// Loss and gradients with a scale and a soft cap of the logits, against the formulas in plain ATen
// with ATen's own autograd; label smoothing and token weighting against numerical differentiation
// of the formulas in fp64.
#include "engine/ops/cross_entropy.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "engine/ops/op_table.h"

namespace trainerd::engine {
namespace {

// Of two sides. std::hypot needs glibc 2.35, which the portable package with its tests does not
// require.
double Length(double a, double b) { return std::sqrt(a * a + b * b); }

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

struct LossCase {
  const char* name;
  double smoothing = 0.0;
  std::optional<TokenWeighting> weighting;
  LogitsOptions logits;
};

std::vector<LossCase> LossCases() {
  const TokenWeighting entropy, cut{.measure = SurpriseMeasure::kPerplexity,
                                    .normalize = false,
                                    .min_weight = 3.0,
                                    .max_weight = 40.0};
  const TokenWeighting confidence{.measure = SurpriseMeasure::kConfidence, .max_weight = 3.0};
  const TokenWeighting margin{.measure = SurpriseMeasure::kMargin, .min_weight = 0.5};
  const LogitsOptions capped{.scale = 1.7, .soft_cap = 3.0};
  return {{"smoothing", 0.1, std::nullopt, {}},
          {"smoothing_capped", 0.4, std::nullopt, capped},
          {"entropy", 0.0, entropy, {}},
          {"perplexity_cut", 0.0, cut, {}},
          {"confidence_capped", 0.0, confidence, capped},
          {"margin_smoothing", 0.2, margin, {.scale = 0.5}},
          {"cut_smoothing_capped", 0.1, cut, capped}};
}

// The formulas in fp64: the sum of the losses with constant `weights` (undefined: 1).
struct ExactLoss {
  const LossCase& c;
  at::Tensor targets;

  at::Tensor Logits(const at::Tensor& hidden, const at::Tensor& head) const {
    const at::Tensor x = at::matmul(hidden, head.t()) * c.logits.scale;
    return c.logits.soft_cap > 0 ? at::tanh(x / c.logits.soft_cap) * c.logits.soft_cap : x;
  }
  at::Tensor Weights(const at::Tensor& hidden, const at::Tensor& head) const {
    if (!c.weighting) return {};
    const at::Tensor log_p = at::log_softmax(Logits(hidden, head), 1), p = log_p.exp(),
                     index = targets.unsqueeze(1), target_p = p.gather(1, index).squeeze(1);
    at::Tensor x;
    switch (c.weighting->measure) {
      case SurpriseMeasure::kEntropy:
        x = -(p * log_p).sum(1);
        break;
      case SurpriseMeasure::kConfidence:
        x = 1.0 - p.amax(1);
        break;
      case SurpriseMeasure::kPerplexity:
        x = 1.0 / (target_p + 1e-10);
        break;
      case SurpriseMeasure::kMargin:
        x = (1.0 - target_p + p.scatter(1, index, 0.0).amax(1)).clamp(0.0, 1.0);
        break;
    }
    const double least = c.weighting->min_weight, most = c.weighting->max_weight;
    if (!c.weighting->normalize) return x.clamp(least, most);
    return least + (most - least) * at::sigmoid((x - x.mean()) / x.std());
  }
  double Sum(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& weights) const {
    const at::Tensor log_p = at::log_softmax(Logits(hidden, head), 1);
    at::Tensor losses = log_p.gather(1, targets.unsqueeze(1)).squeeze(1) * (c.smoothing - 1.0) -
                        log_p.mean(1) * c.smoothing;
    if (weights.defined()) losses = losses * weights;
    return losses.sum().item<double>();
  }
};

class LossGradientTest
    : public ::testing::TestWithParam<std::tuple<size_t, const char*, at::ScalarType>> {
 protected:
  void TearDown() override { RegisterOps(at::kCPU, CpuOps()); }
};

TEST_P(LossGradientTest, AgreesWithNumericalDifferentiation) {
  const auto& [index, table, dtype] = GetParam();
  const LossCase c = LossCases()[index];
  RegisterOps(at::kCPU, std::string(table) == "cpu" ? CpuOps() : ReferenceOps());
  at::manual_seed(4);
  const int64_t rows = 23, size = 8, vocabulary = 31;
  const at::Tensor hidden = at::randn({rows, size}).to(dtype),
                   matrix = at::randn({vocabulary, size}).to(dtype),
                   targets = at::randint(vocabulary, {rows}, at::TensorOptions().dtype(at::kLong));
  const at::Tensor hidden64 = hidden.to(at::kDouble), matrix64 = matrix.to(at::kDouble);
  const ExactLoss exact{c, targets};
  const at::Tensor weights = exact.Weights(hidden64, matrix64);
  const double tolerance = dtype == at::kFloat ? 2e-5 : 3e-2;
  // One chunk, and chunks of 5 rows.
  for (const int64_t buffer : {int64_t{0}, 5 * vocabulary}) {
    const WeightAndGrad head{matrix, at::zeros(matrix.sizes())};
    const LinearCrossEntropyResult result =
        LinearCrossEntropy(hidden.clone().requires_grad_(true), targets, head,
                           {.logits = c.logits,
                            .label_smoothing = c.smoothing,
                            .token_weighting = c.weighting,
                            .gradient_scale = 0.25,
                            .buffer_elements = buffer});
    const double sum = exact.Sum(hidden64, matrix64, weights);
    EXPECT_NEAR(result.loss_sum.item<double>(), sum, tolerance * sum);
    const at::Tensor d_hidden = result.d_hidden_RD.to(at::kDouble) * 4.0,
                     d_matrix = head.grad.to(at::kDouble) * 4.0;
    const double norm = Length(d_hidden.norm().item<double>(), d_matrix.norm().item<double>());
    for (int direction = 0; direction < 4; ++direction) {
      // The gradient itself first: along it, the derivative is its norm.
      at::Tensor a = direction == 0 ? d_hidden : at::randn_like(d_hidden),
                 b = direction == 0 ? d_matrix : at::randn_like(d_matrix);
      const double length = Length(a.norm().item<double>(), b.norm().item<double>());
      a = a / length, b = b / length;
      constexpr double kStep = 1e-5;
      const double numeric = (exact.Sum(hidden64 + a * kStep, matrix64 + b * kStep, weights) -
                              exact.Sum(hidden64 - a * kStep, matrix64 - b * kStep, weights)) /
                             (2 * kStep);
      const double ours = (d_hidden * a).sum().item<double>() + (d_matrix * b).sum().item<double>();
      EXPECT_NEAR(ours, numeric, tolerance * norm) << "direction " << direction;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, LossGradientTest,
                         ::testing::Combine(::testing::Range(size_t{0}, LossCases().size()),
                                            ::testing::Values("cpu", "reference"),
                                            ::testing::Values(at::kFloat, at::kBFloat16)),
                         [](const auto& info) {
                           return std::string(LossCases()[std::get<0>(info.param)].name) + "_" +
                                  std::get<1>(info.param) +
                                  (std::get<2>(info.param) == at::kFloat ? "_fp32" : "_bf16");
                         });

// The losses that `weigh` gets are those of TargetLosses, and its weights act as given ones do.
// Some are negative, as those of rejected answers.
TEST(WeighTest, WeightsFollowFromTheLossesOfAllTargets) {
  at::manual_seed(6);
  const int64_t rows = 23, size = 8, vocabulary = 31;
  const at::Tensor hidden = at::randn({rows, size}), matrix = at::randn({vocabulary, size}),
                   targets = at::randint(vocabulary, {rows}, at::TensorOptions().dtype(at::kLong));
  const auto weights = [](const at::Tensor& losses) { return losses - losses.mean(); };
  for (const int64_t buffer : {int64_t{0}, 5 * vocabulary}) {
    const LogitsOptions logits{.scale = 1.7, .soft_cap = 3.0};
    const at::Tensor losses =
        TargetLosses(hidden, targets, matrix, {.logits = logits, .buffer_elements = buffer});
    const at::Tensor exact =
        at::tanh(at::matmul(hidden.to(at::kDouble), matrix.to(at::kDouble).t()) * 1.7 / 3.0) * 3.0;
    EXPECT_LE(Distance(losses.to(at::kDouble),
                       -at::log_softmax(exact, 1).gather(1, targets.unsqueeze(1)).squeeze(1)),
              1e-5);
    const WeightAndGrad weighed{matrix, at::zeros(matrix.sizes())},
        given{matrix, at::zeros(matrix.sizes())};
    const LinearCrossEntropyResult actual = LinearCrossEntropy(hidden.clone().requires_grad_(true),
                                                               targets, weighed,
                                                               {.logits = logits,
                                                                .weigh = weights,
                                                                .gradient_scale = 0.25,
                                                                .buffer_elements = buffer}),
                                   expected = LinearCrossEntropy(
                                       hidden.clone().requires_grad_(true), targets, given,
                                       {.logits = logits,
                                        .weights_R = weights(losses),
                                        .gradient_scale = 0.25,
                                        .buffer_elements = buffer});
    EXPECT_NEAR(actual.loss_sum.item<double>(), expected.loss_sum.item<double>(), 1e-4);
    EXPECT_TRUE(at::equal(actual.d_hidden_RD, expected.d_hidden_RD));
    EXPECT_LE(Distance(weighed.grad, given.grad), 1e-5);
  }
}

// torch does not standardize equal values, nor one value; neither do we.
TEST(TokenWeightingTest, EqualMeasuresAreNotStandardized) {
  const at::Tensor matrix = at::zeros({4, 3});
  const WeightAndGrad head{matrix, at::zeros({4, 3})};
  const double entropy = std::log(4.0), weight = 0.1 + 9.9 / (1.0 + std::exp(-entropy));
  for (const int64_t rows : {1, 3}) {
    const LinearCrossEntropyResult result = LinearCrossEntropy(
        at::ones({rows, 3}), at::ones({rows}, at::TensorOptions().dtype(at::kLong)), head,
        {.token_weighting = TokenWeighting{}});
    const double expected = static_cast<double>(rows) * weight * std::log(4.0);
    EXPECT_NEAR(result.loss_sum.item<double>(), expected, 1e-5 * expected);
  }
}

}  // namespace
}  // namespace trainerd::engine
