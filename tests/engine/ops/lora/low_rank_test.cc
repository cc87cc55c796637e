// SPDX-License-Identifier: Apache-2.0
// An adapter on a linear layer, on the head and on the embedding against the formulas of PEFT in
// plain ATen in fp64, and the gradients of A, B and the input against numerical differentiation of
// those formulas.
#include "engine/ops/lora/low_rank.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "engine/ops/autograd.h"
#include "engine/ops/cross_entropy.h"
#include "engine/ops/layers/embedding.h"
#include "engine/ops/layers/linear.h"

namespace trainerd::engine {
namespace {

constexpr int64_t kTokens = 13, kIn = 10, kRank = 3;
// The outputs of a joint matrix of three.
const std::vector<int64_t> kSizes = {8, 4, 6};
constexpr double kScale = 1.25;

at::Tensor Double(const at::Tensor& x) { return x.to(at::kDouble); }

double Norm(const at::Tensor& x) { return std::sqrt(Double(x).square().sum().item<double>()); }

void ExpectNear(const at::Tensor& actual, const at::Tensor& expected, double tolerance,
                const char* what) {
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  EXPECT_LE(Norm(Double(actual) - Double(expected)), tolerance * Norm(expected)) << what;
}

// df / dx by central differences, element by element.
at::Tensor Derivative(const std::function<double(const at::Tensor&)>& f, const at::Tensor& x) {
  constexpr double kStep = 1e-4;
  at::Tensor point = Double(x).clone(), result = at::zeros(x.sizes(), at::kDouble);
  for (int64_t i = 0; i < point.numel(); ++i) {
    double* element = point.mutable_data_ptr<double>() + i;
    const double value = *element;
    *element = value + kStep;
    const double above = f(point);
    *element = value - kStep;
    const double below = f(point);
    *element = value;
    result.mutable_data_ptr<double>()[i] = (above - below) / (2.0 * kStep);
  }
  return result;
}

// An adapter on the matrices `targets` of kSizes, with random A and B in one buffer each.
LowRankWeights Adapter(const std::vector<size_t>& targets, at::ScalarType dtype, double dropout) {
  const int64_t terms = static_cast<int64_t>(targets.size());
  LowRankWeights result{.scale = kScale, .dropout = dropout};
  result.a = {at::randn({terms * kRank, kIn}).to(dtype), at::zeros({terms * kRank, kIn})};
  for (int64_t i = 0; i < terms; ++i) {
    LowRankTerm term;
    term.a = {result.a.weight.narrow(0, i * kRank, kRank),
              result.a.grad.narrow(0, i * kRank, kRank)};
    const size_t target = targets[static_cast<size_t>(i)];
    for (size_t before = 0; before < target; ++before) term.begin += kSizes[before];
    term.b = {at::randn({kSizes[target], kRank}).to(dtype), at::zeros({kSizes[target], kRank})};
    term.stream = static_cast<uint64_t>(40 + i);
    result.terms.push_back(term);
  }
  return result;
}

// 0 or 1 / (1 − p) for each element of x: what `Dropout` multiplies by.
at::Tensor MaskOf(const at::Tensor& x, const LowRankWeights& weights, size_t term,
                  const DropoutRows& rows) {
  if (weights.dropout == 0.0 || !rows.row_keys_T.defined()) return at::ones_like(Double(x));
  return Double(
      Dropout(at::ones_like(x).to(at::kFloat), weights.dropout, weights.terms[term].stream, rows));
}

// x·Wᵀ + scale × (mask × x)·Aᵀ·Bᵀ in each target's columns; `a` and `b` as in weights.terms.
at::Tensor Formula(const at::Tensor& x, const at::Tensor& weight, const LowRankWeights& weights,
                   const std::vector<at::Tensor>& masks, const std::vector<at::Tensor>& a,
                   const std::vector<at::Tensor>& b) {
  at::Tensor y = at::matmul(x, weight.t());
  for (size_t i = 0; i < weights.terms.size(); ++i) {
    y.narrow(1, weights.terms[i].begin, b[i].size(0))
        .add_(at::matmul(at::matmul(x * masks[i], a[i].t()), b[i].t()) * kScale);
  }
  return y;
}

struct Case {
  std::vector<size_t> targets;
  double dropout = 0.0;
};

class LowRankTest : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override { at::manual_seed(11); }
  double tolerance() const { return GetParam() == at::kFloat ? 1e-5 : 2e-2; }
  at::Tensor Random(at::IntArrayRef sizes) const { return at::randn(sizes).to(GetParam()); }
};

TEST_P(LowRankTest, LinearEqualsFormulaAndNumericalDerivatives) {
  for (const Case& c :
       {Case{{0, 1, 2}}, Case{{0, 2}}, Case{{1}}, Case{{2}, 0.4}, Case{{0, 1, 2}, 0.25}}) {
    SCOPED_TRACE(::testing::Message() << c.targets.size() << " terms, dropout " << c.dropout);
    const at::Tensor x = Random({kTokens, kIn}).requires_grad_(true), weight = Random({18, kIn}),
                     d = Random({kTokens, 18});
    LinearWeights linear{.weight = weight};
    linear.low_rank = Adapter(c.targets, GetParam(), c.dropout);
    const LowRankWeights& adapter = linear.low_rank;
    const DropoutRows rows{.key = 9, .row_keys_T = at::arange(kTokens)};
    at::Tensor y = Linear(x, linear, /*recompute=*/nullptr, rows);
    y.backward(d);

    std::vector<at::Tensor> masks, a, b;
    for (size_t i = 0; i < adapter.terms.size(); ++i) {
      masks.push_back(MaskOf(x.detach(), adapter, i, rows));
      a.push_back(Double(adapter.terms[i].a.weight));
      b.push_back(Double(adapter.terms[i].b.weight));
    }
    const at::Tensor x64 = Double(x.detach()), w64 = Double(weight), d64 = Double(d);
    ExpectNear(y.detach(), Formula(x64, w64, adapter, masks, a, b), tolerance(), "y");
    const auto value = [&](const at::Tensor& at_x, const std::vector<at::Tensor>& at_a,
                           const std::vector<at::Tensor>& at_b) {
      return (Formula(at_x, w64, adapter, masks, at_a, at_b) * d64).sum().item<double>();
    };
    ExpectNear(x.grad(), Derivative([&](const at::Tensor& p) { return value(p, a, b); }, x64),
               tolerance(), "d_x");
    for (size_t i = 0; i < adapter.terms.size(); ++i) {
      const auto with = [i](std::vector<at::Tensor> list, const at::Tensor& p) {
        list[i] = p;
        return list;
      };
      ExpectNear(adapter.terms[i].a.grad,
                 Derivative([&](const at::Tensor& p) { return value(x64, with(a, p), b); }, a[i]),
                 tolerance(), "d_A");
      ExpectNear(adapter.terms[i].b.grad,
                 Derivative([&](const at::Tensor& p) { return value(x64, a, with(b, p)); }, b[i]),
                 tolerance(), "d_B");
    }
  }
}

TEST_P(LowRankTest, HeadEqualsFormulaAndNumericalDerivatives) {
  for (const double dropout : {0.0, 0.3}) {
    for (const LogitsOptions& logits :
         {LogitsOptions{}, LogitsOptions{.scale = 0.7, .soft_cap = 3.0}}) {
      SCOPED_TRACE(::testing::Message() << dropout << " " << logits.soft_cap);
      const int64_t vocabulary = kSizes[0];
      const at::Tensor hidden = Random({kTokens, kIn}).requires_grad_(true),
                       weight = Random({vocabulary, kIn}),
                       targets = at::randint(vocabulary, {kTokens}, at::TensorOptions(at::kLong));
      const LowRankWeights adapter = Adapter({0}, GetParam(), dropout);
      const DropoutRows rows{.key = 3, .row_keys_T = at::arange(kTokens)};
      // Chunks of 5 rows.
      const LinearCrossEntropyResult result =
          LinearCrossEntropy(hidden, targets, {weight, at::Tensor()},
                             {.logits = logits,
                              .gradient_scale = 0.5,
                              .low_rank = adapter,
                              .dropout = rows,
                              .buffer_elements = 5 * vocabulary});

      const std::vector<at::Tensor> masks = {MaskOf(hidden.detach(), adapter, 0, rows)};
      const at::Tensor w64 = Double(weight), a = Double(adapter.terms[0].a.weight),
                       b = Double(adapter.terms[0].b.weight), h = Double(hidden.detach());
      const auto logits_of = [&](const at::Tensor& x, const at::Tensor& at_a,
                                 const at::Tensor& at_b, const std::vector<at::Tensor>& at_masks) {
        const at::Tensor y = Formula(x, w64, adapter, at_masks, {at_a}, {at_b}) * logits.scale;
        return logits.soft_cap > 0.0 ? (y / logits.soft_cap).tanh() * logits.soft_cap : y;
      };
      const auto loss = [&](const at::Tensor& x, const at::Tensor& at_a, const at::Tensor& at_b) {
        return -at::log_softmax(logits_of(x, at_a, at_b, masks), 1)
                    .gather(1, targets.unsqueeze(1))
                    .sum()
                    .item<double>();
      };
      const double expected = loss(h, a, b);
      EXPECT_NEAR(result.loss_sum.item<double>(), expected, tolerance() * expected);
      ExpectNear(HeadLogits(hidden, weight, logits, adapter),
                 logits_of(h, a, b, {at::ones_like(h)}), tolerance(), "logits");
      const auto half = [](const at::Tensor& x) { return x * 0.5; };
      // The gradient of the logits is rounded to bf16 before it is summed.
      const double loose = GetParam() == at::kFloat ? tolerance() : 5e-2;
      ExpectNear(result.d_hidden_RD,
                 half(Derivative([&](const at::Tensor& p) { return loss(p, a, b); }, h)), loose,
                 "d_h");
      ExpectNear(adapter.terms[0].a.grad,
                 half(Derivative([&](const at::Tensor& p) { return loss(h, p, b); }, a)), loose,
                 "d_A");
      ExpectNear(adapter.terms[0].b.grad,
                 half(Derivative([&](const at::Tensor& p) { return loss(h, a, p); }, b)), loose,
                 "d_B");
    }
  }
}

TEST_P(LowRankTest, EmbeddingEqualsFormulaAndNumericalDerivatives) {
  const int64_t size = kSizes[0];
  const at::Tensor ids = at::tensor(at::ArrayRef<int64_t>({4, 0, 4, 9, 4})),
                   table = Random({kIn, size}), d = Random({5, size});
  const LowRankWeights adapter = Adapter({0}, GetParam(), /*dropout=*/0.5);
  at::Tensor out = Embedding(ids, {table, at::Tensor()}, adapter);
  out.backward(d);
  const at::Tensor a = Double(adapter.terms[0].a.weight), b = Double(adapter.terms[0].b.weight);
  const auto formula = [&](const at::Tensor& at_a, const at::Tensor& at_b) {
    return Double(table).index_select(0, ids) +
           at::matmul(at_b, at_a).t().index_select(0, ids) * kScale;
  };
  ExpectNear(out.detach(), formula(a, b), tolerance(), "out");
  const auto value = [&](const at::Tensor& at_a, const at::Tensor& at_b) {
    return (formula(at_a, at_b) * Double(d)).sum().item<double>();
  };
  ExpectNear(adapter.terms[0].a.grad,
             Derivative([&](const at::Tensor& p) { return value(p, b); }, a), tolerance(), "d_A");
  ExpectNear(adapter.terms[0].b.grad,
             Derivative([&](const at::Tensor& p) { return value(a, p); }, b), tolerance(), "d_B");
}

INSTANTIATE_TEST_SUITE_P(Types, LowRankTest, ::testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& info) {
                           return info.param == at::kFloat ? "fp32" : "bf16";
                         });

TEST(LowRankLinearTest, TrainsTheAdapterOfAFrozenLayerWithoutInputGradient) {
  LinearWeights linear{.weight = at::randn({18, kIn})};
  linear.low_rank = Adapter({0, 2}, at::kFloat, /*dropout=*/0.0);
  const at::Tensor x = at::randn({kTokens, kIn});
  at::Tensor y = Linear(x, linear);
  ASSERT_TRUE(y.requires_grad());
  y.backward(at::ones_like(y));
  EXPECT_GT(Norm(linear.low_rank.terms[1].b.grad), 0.0);
  EXPECT_FALSE(x.grad().defined());
  const at::NoGradGuard no_grad;
  EXPECT_TRUE(at::equal(Linear(x, linear), y.detach()));
}

TEST(LowRankLinearTest, AccumulatesGradientsOverCalls) {
  LinearWeights linear{.weight = at::randn({18, kIn})};
  linear.low_rank = Adapter({0, 1, 2}, at::kFloat, /*dropout=*/0.0);
  const at::Tensor x = at::randn({kTokens, kIn}), d = at::randn({kTokens, 18});
  Linear(x, linear).backward(d);
  const at::Tensor once = linear.low_rank.a.grad.clone();
  Linear(x, linear).backward(d);
  ExpectNear(linear.low_rank.a.grad, once * 2.0, 1e-6, "d_A");
}

TEST(LowRankLinearTest, RecomputesTheInputInTheBackward) {
  LinearWeights linear{.weight = at::randn({18, kIn})};
  linear.low_rank = Adapter({0}, at::kFloat, /*dropout=*/0.0);
  at::Tensor x = at::randn({kTokens, kIn});
  const at::Tensor copy = x.clone();
  const c10::weak_intrusive_ptr<c10::StorageImpl> watch(
      c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(x.storage().unsafeGetStorageImpl()));
  int recomputed = 0;
  at::Tensor y = Linear(x, linear, [&] {
    ++recomputed;
    return copy;
  });
  x.reset();
  EXPECT_TRUE(watch.expired());
  y.backward(at::ones_like(y));
  EXPECT_EQ(recomputed, 1);
}

TEST(LowRankLinearTest, IgnoresDropoutWithoutRowKeys) {
  LinearWeights linear{.weight = at::randn({18, kIn})};
  linear.low_rank = Adapter({0, 1}, at::kFloat, /*dropout=*/0.0);
  const at::Tensor x = at::randn({kTokens, kIn}), plain = Linear(x, linear).detach();
  linear.low_rank.dropout = 0.5;
  EXPECT_TRUE(at::equal(Linear(x, linear).detach(), plain));
  EXPECT_FALSE(at::equal(
      Linear(x, linear, nullptr, {.key = 1, .row_keys_T = at::arange(kTokens)}).detach(), plain));
}

}  // namespace
}  // namespace trainerd::engine
