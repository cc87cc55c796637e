// SPDX-License-Identifier: Apache-2.0
// train.precision: bf16_sr: stochastic rounding of the weights, the memory of a parameter, and
// every optimizer. Updates are compared with torch.optim.AdamW and the same random bits
// (tests/golden/optim/make_rounding_goldens.py).
#include "engine/optim/weight_window.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "engine/data/batches/counter_rng.h"
#include "engine/optim/global_norm.h"
#include "tests/engine/model/golden_model.h"
#include "tests/engine/optim/optimizers.h"

namespace trainerd::engine {
namespace {

// As the training loop sets it.
uint64_t KeyOf(int64_t seed, int64_t step) {
  return CounterRng(seed, RngPurpose::kWeightRounding, step).At(0);
}

at::Tensor Rounded(const at::Tensor& values, int64_t step = 1, int64_t seed = 42) {
  at::Tensor result = at::empty(values.sizes(), at::kBFloat16);
  RoundStochastically(values, result, KeyOf(seed, step), /*first=*/0);
  return result;
}

std::unique_ptr<ParameterSet> Create(Precision precision, const std::string& model = "qwen3") {
  auto parameters =
      ParameterSet::Create(golden::Config(golden::Read(model)), precision, c10::Device(c10::kCPU));
  EXPECT_TRUE(parameters.ok()) << parameters.status();
  (*parameters)->set_rounding_key(KeyOf(42, 1));
  return *std::move(parameters);
}

// The same numbers for each precision: those that bf16 represents.
void FillNormal(const at::Tensor& flat, double scale) {
  flat.copy_(
      (at::randn(flat.sizes(), at::TensorOptions().dtype(at::kFloat)) * scale).to(at::kBFloat16));
}

TEST(StochasticRoundingTest, MeanIsExactAndEachResultANeighbor) {
  constexpr int64_t kCount = 1 << 18;
  for (const float lower : {1.0f, -3.0f, 0.0078125f}) {
    const float distance = std::ldexp(1.0f, std::ilogb(lower) - 7);
    for (const float share : {0.0f, 0.01f, 0.3f, 0.5f, 0.9f}) {
      const float value = lower + std::copysign(share * distance, lower);
      const at::Tensor rounded = Rounded(at::full({kCount}, value)).to(at::kFloat);
      const at::Tensor moved = ((rounded - lower) / std::copysign(distance, lower)).to(at::kDouble);
      EXPECT_TRUE(((moved == 0.0) + (moved == 1.0)).all().item<bool>()) << value;
      // Five standard deviations.
      EXPECT_NEAR(moved.mean().item<double>(), share,
                  5 * std::sqrt(share * (1 - share) / kCount) + 1e-5)
          << value;
    }
  }
}

TEST(StochasticRoundingTest, KeepsWhatBf16Represents) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {
      0.0f, -0.0f, 1.0f, -2.5f, kInfinity, -kInfinity, std::ldexp(1.0f, -126)};
  for (int64_t step = 1; step <= 100; ++step) {
    const at::Tensor rounded = Rounded(at::tensor(values), step);
    for (size_t i = 0; i < values.size(); ++i)
      EXPECT_EQ(rounded[static_cast<int64_t>(i)].item<float>(), values[i]) << i;
  }
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(Rounded(at::full({64}, nan)).isnan().all().item<bool>());
}

TEST(StochasticRoundingTest, DependsOnSeedStepAndElementAlone) {
  const at::Tensor values = at::full({50000}, 1.003f);
  const at::Tensor whole = Rounded(values);
  EXPECT_FALSE(whole.equal(Rounded(values, /*step=*/2)));
  EXPECT_FALSE(whole.equal(Rounded(values, /*step=*/1, /*seed=*/43)));
  const int threads = at::get_num_threads();
  for (const int count : {1, 2, 3}) {
    at::set_num_threads(count);
    at::Tensor parts = at::empty(values.sizes(), at::kBFloat16);
    for (int64_t begin = 0; begin < values.numel(); begin += 9973) {
      const int64_t size = std::min<int64_t>(9973, values.numel() - begin);
      RoundStochastically(values.narrow(0, begin, size), parts.narrow(0, begin, size), KeyOf(42, 1),
                          begin);
    }
    EXPECT_TRUE(parts.equal(whole)) << count;
  }
  at::set_num_threads(threads);
}

TEST(PureBf16Test, EqualsTorchWithTheSameRandomBits) {
  const nlohmann::json golden = golden::File("optim/rounding");
  const auto parameters = Create(Precision::kBf16Sr, "llama_tied");
  const Parameter& embedding = *parameters->Find("model.embed_tokens.weight");
  ASSERT_EQ(embedding.offset, 0);
  v1::OptimizerConfig config = testing::AdamWConfig();
  config.set_betas(0, golden["beta1"]);
  config.set_betas(1, golden["beta2"]);
  config.set_eps(golden["eps"]);
  config.set_weight_decay(golden["weight_decay"]);
  const auto optimizer = testing::Build(config, *parameters);
  const auto count = static_cast<int64_t>(golden["steps"][0].size());
  const auto values = [&](const std::string& name) {
    return at::tensor(golden::Weights(name, count));
  };
  const at::Tensor weight = parameters->flat_value().narrow(0, 0, count);
  weight.copy_(values("rounded"));
  for (size_t step = 1; step <= golden["steps"].size(); ++step) {
    parameters->flat_grad()
        .narrow(0, 0, count)
        .copy_(values("rounded.grad" + std::to_string(step)));
    parameters->set_rounding_key(KeyOf(golden["seed"], static_cast<int64_t>(step)));
    optimizer->Step({golden["learning_rate"].get<double>()}, 1.0, static_cast<int64_t>(step));
    const auto expected = golden["steps"][step - 1].get<std::vector<float>>();
    EXPECT_TRUE(weight.to(at::kFloat).equal(at::tensor(expected))) << "step " << step;
  }
}

// Weights, gradients and AdamW's moments.
TEST(PureBf16Test, TakesTwelveBytesPerParameter) {
  for (const auto& [precision, bytes] :
       {std::pair{Precision::kBf16Sr, 12}, std::pair{Precision::kBf16SrAccumulating, 14},
        std::pair{Precision::kBf16, 18}, std::pair{Precision::kFp32, 16}}) {
    const auto parameters = Create(precision);
    const auto optimizer = testing::Build(testing::AdamWConfig(), *parameters);
    std::set<const void*> seen;
    size_t sum = 0;
    const auto add = [&](const at::Tensor& tensor) {
      if (seen.insert(tensor.storage().data()).second) sum += tensor.storage().nbytes();
    };
    add(parameters->flat_master());
    add(parameters->flat_value());
    add(parameters->flat_grad());
    for (const at::Tensor& state : testing::StateTensors(*optimizer)) add(state);
    EXPECT_EQ(sum, static_cast<size_t>(bytes * parameters->flat_value().numel()));
  }
}

// To the nearest, 1 − 1e-4 would stay 1.
TEST(PureBf16Test, SmallUpdatesAreNotLost) {
  const auto parameters = Create(Precision::kBf16Sr);
  parameters->flat_value().fill_(1.0);
  parameters->flat_grad().fill_(1.0);
  v1::OptimizerConfig config = testing::DefaultConfig(v1::OptimizerConfig::TYPE_SGD);
  config.set_weight_decay(0);
  config.set_momentum(0);
  const auto optimizer = testing::Build(config, *parameters);
  for (int64_t step = 1; step <= 100; ++step) {
    parameters->set_rounding_key(KeyOf(42, step));
    optimizer->Step({1e-4}, 1.0, step);
  }
  const double moved = 1.0 - parameters->flat_value().to(at::kDouble).mean().item<double>();
  EXPECT_NEAR(moved, 1e-2, 1e-3);
}

// The update of the masters in fp32, rounded to a neighbor, for any number of threads.
TEST(PureBf16Test, EachOptimizerRoundsTheUpdateOfFp32) {
  for (const auto type : {v1::OptimizerConfig::TYPE_ADAMW, v1::OptimizerConfig::TYPE_SGD,
                          v1::OptimizerConfig::TYPE_MUON, v1::OptimizerConfig::TYPE_ADAMW_8BIT}) {
    SCOPED_TRACE(v1::OptimizerConfig::Type_Name(type));
    const v1::OptimizerConfig config = testing::DefaultConfig(type);
    const auto full = Create(Precision::kFp32), pure = Create(Precision::kBf16Sr),
               accumulating = Create(Precision::kBf16SrAccumulating);
    FillNormal(full->flat_master(), 0.05);
    FillNormal(full->flat_grad(), 0.01);
    const int threads = at::get_num_threads();
    for (ParameterSet* other : {pure.get(), accumulating.get()}) {
      at::set_num_threads(other == pure.get() ? 1 : 2);
      other->flat_value().copy_(full->flat_master());
      other->flat_grad().copy_(full->flat_grad());
      testing::Build(config, *other)->Step({1e-3, 1e-3}, 0.5, 1);
    }
    at::set_num_threads(threads);
    testing::Build(config, *full)->Step({1e-3, 1e-3}, 0.5, 1);
    EXPECT_TRUE(pure->flat_value().equal(accumulating->flat_value()));
    const at::Tensor expected = full->flat_master().to(at::kDouble);
    const at::Tensor difference = pure->flat_value().to(at::kDouble) - expected;
    EXPECT_TRUE(
        (difference.abs() <= expected.abs() * std::ldexp(1.0, -7) + 1e-30).all().item<bool>());
    EXPECT_LT(std::abs(difference.mean().item<double>()), 1e-5);
    EXPECT_GT(difference.abs().max().item<double>(), 0);
  }
}

TEST(PureBf16Test, NormOfBf16GradientsIsThatOfTheirValues) {
  const auto parameters = Create(Precision::kBf16Sr);
  FillNormal(parameters->flat_grad(), 0.1);
  EXPECT_FLOAT_EQ(GlobalNorm(parameters->flat_grad()).item<float>(),
                  GlobalNorm(parameters->flat_grad().to(at::kFloat)).item<float>());
}

}  // namespace
}  // namespace trainerd::engine
