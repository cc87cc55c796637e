// SPDX-License-Identifier: Apache-2.0
// The mixture of experts and its load-balancing loss against the same formulas through LibTorch's
// autograd.
#include "engine/ops/layers/experts.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/one_hot.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

namespace trainerd::engine {
namespace {

constexpr int64_t kTokens = 9, kHidden = 6, kExperts = 5, kChosen = 2, kSize = 4;

struct Weights {
  at::Tensor router = at::randn({kExperts, kHidden});
  std::vector<at::Tensor> gate_up, down;

  Weights() {
    for (int64_t e = 0; e < kExperts; ++e) {
      gate_up.push_back(at::randn({2 * kSize, kHidden}));
      down.push_back(at::randn({kHidden, kSize}));
    }
  }
};

at::Tensor Leaf(const at::Tensor& values) { return values.clone().set_requires_grad(true); }

Mixture MixtureOf(const Weights& weights, bool normalizes) {
  Mixture mixture{.router = {weights.router, at::zeros_like(weights.router)},
                  .experts_per_token = kChosen,
                  .normalizes = normalizes,
                  .activate = SwiGlu};
  for (int64_t e = 0; e < kExperts; ++e) {
    Expert& expert = mixture.experts.emplace_back();
    expert.gate_up.weight = weights.gate_up[e];
    expert.gate_up.weight_grad = at::zeros_like(weights.gate_up[e]);
    expert.down.weight = weights.down[e];
    expert.down.weight_grad = at::zeros_like(weights.down[e]);
  }
  return mixture;
}

RouterLoad EmptyLoad(int64_t layers) {
  return {.chosen_LE = at::zeros({layers, kExperts}),
          .probabilities_LE = at::zeros({layers, kExperts}),
          .rows = static_cast<double>(kTokens * layers)};
}

// What the layer computes, and the loss that balances it.
struct Formula {
  at::Tensor out, balance;
};

Formula Evaluate(const at::Tensor& x, const at::Tensor& router,
                 const std::vector<at::Tensor>& gate_up, const std::vector<at::Tensor>& down,
                 bool normalizes) {
  const at::Tensor p = at::softmax(x.matmul(router.t()), 1);
  auto [weights, chosen] = at::topk(p, kChosen, 1);
  if (normalizes) weights = weights / weights.sum(1, /*keepdim=*/true);
  at::Tensor out = at::zeros_like(x);
  const at::Tensor is_chosen = at::one_hot(chosen, kExperts).to(at::kFloat);  // [T, K, E]
  for (int64_t e = 0; e < kExperts; ++e) {
    const at::Tensor both = x.matmul(gate_up[e].t());
    const at::Tensor hidden = at::silu(both.narrow(1, 0, kSize)) * both.narrow(1, kSize, kSize);
    const at::Tensor weight = (weights * is_chosen.select(2, e)).sum(1, /*keepdim=*/true);
    out = out + hidden.matmul(down[e].t()) * weight;
  }
  const at::Tensor share = is_chosen.sum(1).mean(0);
  return {out, (share.detach() * p.mean(0)).sum() * static_cast<double>(kExperts)};
}

double Distance(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

TEST(ExpertsTest, OutputAndGradientsAgreeWithAutograd) {
  for (const bool normalizes : {false, true}) {
    for (const double factor : {0.0, 0.7}) {
      at::manual_seed(3);
      const Weights weights;
      const at::Tensor values = at::randn({kTokens, kHidden}), d_out = at::randn_like(values);
      const at::Tensor expected_x = Leaf(values), expected_router = Leaf(weights.router);
      std::vector<at::Tensor> gate_up, down;
      for (int64_t e = 0; e < kExperts; ++e) {
        gate_up.push_back(Leaf(weights.gate_up[e]));
        down.push_back(Leaf(weights.down[e]));
      }
      const Formula expected = Evaluate(expected_x, expected_router, gate_up, down, normalizes);
      ((expected.out * d_out).sum() + expected.balance * factor).backward();

      const Mixture mixture = MixtureOf(weights, normalizes);
      const auto load = std::make_shared<RouterLoad>(EmptyLoad(1));
      load->gradient_factor = factor;
      const at::Tensor x = Leaf(values);
      const at::Tensor out = MixtureOfExperts({x, nullptr}, mixture, load, 0);
      EXPECT_LE(Distance(out, expected.out), 1e-5);
      EXPECT_NEAR(LoadBalancingLoss(*load).item<double>(), expected.balance.item<double>(), 1e-5);
      out.backward(d_out);
      EXPECT_LE(Distance(x.grad(), expected_x.grad()), 2e-5) << normalizes << " " << factor;
      EXPECT_LE(Distance(mixture.router.grad, expected_router.grad()), 2e-5) << factor;
      for (int64_t e = 0; e < kExperts; ++e) {
        EXPECT_LE(Distance(mixture.experts[e].gate_up.weight_grad, gate_up[e].grad()), 2e-5) << e;
        EXPECT_LE(Distance(mixture.experts[e].down.weight_grad, down[e].grad()), 2e-5) << e;
      }
    }
  }
}

TEST(ExpertsTest, AnExpertThatNobodyChoosesGetsNoGradient) {
  at::manual_seed(4);
  Weights weights;
  // Its logit is below all others for positive inputs.
  weights.router = weights.router.abs();
  weights.router[2] = -5.0;
  const Mixture mixture = MixtureOf(weights, /*normalizes=*/true);
  const auto load = std::make_shared<RouterLoad>(EmptyLoad(1));
  const at::Tensor x = Leaf(at::randn({kTokens, kHidden}).abs() + 0.1);
  const at::Tensor out = MixtureOfExperts({x, nullptr}, mixture, load, 0);
  out.backward(at::randn({kTokens, kHidden}));
  EXPECT_EQ(load->chosen_LE[0][2].item<double>(), 0.0);
  EXPECT_EQ(load->chosen_LE.sum().item<double>(), kTokens * kChosen);
  EXPECT_EQ(mixture.experts[2].gate_up.weight_grad.abs().max().item<double>(), 0.0);
  EXPECT_EQ(mixture.experts[2].down.weight_grad.abs().max().item<double>(), 0.0);
}

TEST(ExpertsTest, EachLayerWritesItsOwnLoad) {
  at::manual_seed(5);
  const Weights weights;
  const Mixture mixture = MixtureOf(weights, /*normalizes=*/false);
  const auto load = std::make_shared<RouterLoad>(EmptyLoad(2));
  const at::Tensor x = at::randn({kTokens, kHidden});
  const at::Tensor first = MixtureOfExperts({x, nullptr}, mixture, load, 1);
  EXPECT_EQ(load->chosen_LE[0].sum().item<double>(), 0.0);
  const at::Tensor before = load->chosen_LE.clone();
  // Computing a layer again changes nothing.
  EXPECT_TRUE(at::equal(MixtureOfExperts({x, nullptr}, mixture, load, 1), first));
  EXPECT_TRUE(at::equal(load->chosen_LE, before));
  MixtureOfExperts({x, nullptr}, mixture, load, 0);
  EXPECT_TRUE(at::equal(load->chosen_LE[0], load->chosen_LE[1]));
}

}  // namespace
}  // namespace trainerd::engine
