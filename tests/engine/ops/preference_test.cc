// SPDX-License-Identifier: Apache-2.0
// The losses of pairs against the formulas by hand, and their gradients against numerical
// differentiation in fp64.
#include "engine/ops/preference.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>

namespace trainerd::engine {
namespace {

const at::TensorOptions kFp64 = at::TensorOptions().dtype(at::kDouble);

at::Tensor Pair(double chosen, double rejected) {
  return at::tensor({chosen, rejected}, kFp64).view({1, 2});
}

double LossOf(const PreferencePairs& pairs, const PreferenceOptions& options) {
  return ComputePreferenceLosses(pairs, options).losses_P.sum().item<double>();
}

TEST(PreferenceLossTest, FollowsTheFormulas) {
  const PreferencePairs pairs{.log_probabilities_P2 = Pair(-10.0, -20.0),
                              .reference_P2 = Pair(-12.0, -19.0),
                              .tokens_P2 = Pair(4.0, 2.0)};
  // The ratios are 2 and −1.
  EXPECT_NEAR(LossOf(pairs, {.beta = 0.5}), std::log1p(std::exp(-1.5)), 1e-15);
  EXPECT_NEAR(LossOf(pairs, {.loss = PreferenceLoss::kIpo, .beta = 0.5}),
              std::pow(0.5 + 0.5 - 1.0, 2), 1e-15);
  EXPECT_NEAR(LossOf(pairs, {.loss = PreferenceLoss::kIpo, .beta = 0.1}),
              std::pow(0.5 + 0.5 - 5.0, 2), 1e-14);
}

TEST(PreferenceLossTest, IsFiniteFarFromTheReference) {
  for (const double chosen : {-1e4, 1e4}) {
    const PreferencePairs pairs{.log_probabilities_P2 = Pair(chosen, 0.0),
                                .reference_P2 = Pair(0.0, 0.0),
                                .tokens_P2 = Pair(1.0, 1.0)};
    const PreferenceLosses losses = ComputePreferenceLosses(pairs, {.beta = 1.0});
    EXPECT_EQ(losses.losses_P.item<double>(), chosen < 0 ? 1e4 : 0.0);
    EXPECT_EQ(losses.gradient_P2[0][0].item<double>(), chosen < 0 ? -1.0 : 0.0);
    EXPECT_EQ(losses.gradient_P2[0][1].item<double>(), chosen < 0 ? 1.0 : 0.0);
  }
}

TEST(PreferenceLossTest, GradientAgreesWithNumericalDifferentiation) {
  at::manual_seed(5);
  const int64_t count = 7;
  const PreferencePairs pairs{.log_probabilities_P2 = at::randn({count, 2}, kFp64) * 4.0 - 20.0,
                              .reference_P2 = at::randn({count, 2}, kFp64) * 4.0 - 20.0,
                              .tokens_P2 = (at::rand({count, 2}, kFp64) * 20.0).floor() + 1.0};
  for (const PreferenceLoss loss : {PreferenceLoss::kSigmoid, PreferenceLoss::kIpo}) {
    for (const double beta : {0.05, 0.5, 3.0}) {
      const PreferenceOptions options{.loss = loss, .beta = beta};
      const PreferenceLosses losses = ComputePreferenceLosses(pairs, options);
      for (int64_t i = 0; i < 2 * count; ++i) {
        constexpr double kStep = 1e-5;
        const auto moved = [&](double by) {
          PreferencePairs other = pairs;
          other.log_probabilities_P2 = pairs.log_probabilities_P2.clone();
          other.log_probabilities_P2.view({-1})[i] += by;
          return LossOf(other, options);
        };
        const double expected = (moved(kStep) - moved(-kStep)) / (2 * kStep);
        EXPECT_NEAR(losses.gradient_P2.view({-1})[i].item<double>(), expected,
                    1e-6 * (1.0 + std::abs(expected)))
            << "beta " << beta << " element " << i;
      }
    }
  }
}

}  // namespace
}  // namespace trainerd::engine
