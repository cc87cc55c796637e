// SPDX-License-Identifier: Apache-2.0
// train.label_smoothing, train.token_weighting and weights of messages over 40 steps of AdamW with
// clipping: loss and gradient norm against transformers' LabelSmoother and a plain PyTorch loop in
// fp32 (tests/golden/training/make_loss_goldens.py).
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/model/decoder.h"
#include "engine/optim/global_norm.h"
#include "tests/engine/model/golden_model.h"
#include "tests/engine/optim/optimizers.h"

namespace trainerd::engine {
namespace {

using testing::TestDevice;
using Microbatches = std::vector<std::vector<size_t>>;

SurpriseMeasure MeasureOf(const std::string& name) {
  if (name == "entropy") return SurpriseMeasure::kEntropy;
  if (name == "confidence") return SurpriseMeasure::kConfidence;
  if (name == "perplexity") return SurpriseMeasure::kPerplexity;
  EXPECT_EQ(name, "margin");
  return SurpriseMeasure::kMargin;
}

DecoderOptions OptionsOf(const nlohmann::json& c) {
  DecoderOptions options;
  if (c.contains("label_smoothing")) options.label_smoothing = c["label_smoothing"];
  if (c.contains("token_weighting")) {
    const nlohmann::json& w = c["token_weighting"];
    options.token_weighting = TokenWeighting{.measure = MeasureOf(w["measure"]),
                                             .normalize = w["normalize"],
                                             .min_weight = w["min_weight"],
                                             .max_weight = w["max_weight"]};
  }
  return options;
}

// The documents in one sequence, with the factors of the case.
DeviceBatch BatchOf(const nlohmann::json& golden, const nlohmann::json& c,
                    const std::vector<size_t>& documents) {
  Microbatch batch = golden::Pack(golden, documents);
  if (c.contains("weights")) {
    for (const size_t document : documents) {
      const auto weights = c["weights"][document].get<std::vector<float>>();
      // As the targets: that of the next token.
      batch.weights.insert(batch.weights.end(), weights.begin() + 1, weights.end());
      batch.weights.push_back(1.0f);
    }
  }
  return ToDevice(batch, TestDevice());
}

struct Trajectory {
  std::vector<double> losses, norms;
};

Trajectory Train(const nlohmann::json& file, const nlohmann::json& c, Precision precision,
                 const Microbatches& microbatches) {
  const TempDir folder;
  const nlohmann::json golden = golden::Read(c["model"]);
  if (precision == Precision::kBf16Sr && microbatches.size() > 1)
    precision = Precision::kBf16SrAccumulating;
  const std::unique_ptr<ParameterSet> parameters = golden::Load(golden, precision, folder.path());
  Decoder decoder(golden::Config(golden), *parameters, OptionsOf(c));
  v1::OptimizerConfig config = testing::AdamWConfig();
  config.set_betas(0, file["beta1"]);
  config.set_betas(1, file["beta2"]);
  config.set_weight_decay(file["weight_decay"]);
  const std::unique_ptr<Optimizer> optimizer = testing::Build(config, *parameters);
  const double targets = golden["targets"];
  Trajectory result;
  for (size_t step = 0; step < c["losses"].size(); ++step) {
    parameters->ZeroGrad();
    double sum = 0;
    for (const std::vector<size_t>& documents : microbatches) {
      const DeviceBatch batch = BatchOf(golden, c, documents);
      sum += decoder.ForwardBackward(batch, 1.0 / targets).item<double>();
    }
    result.losses.push_back(sum / targets);
    result.norms.push_back(GlobalNorm(parameters->flat_grad()).item<double>());
    const double clip =
        std::min(1.0, file["max_grad_norm"].get<double>() / (result.norms.back() + 1e-6));
    parameters->set_rounding_key(step);
    optimizer->Step({c["learning_rate"].get<double>()}, clip, static_cast<int64_t>(step) + 1);
  }
  return result;
}

class TrainingLossTest : public ::testing::TestWithParam<std::tuple<std::string, Precision>> {
 protected:
  // For matrices this small, a second thread costs more than it saves.
  void SetUp() override { at::set_num_threads(1); }
};

TEST_P(TrainingLossTest, FortyStepsEqualTheReference) {
  const nlohmann::json file = golden::File("training/losses");
  const nlohmann::json& c = file["cases"][std::get<0>(GetParam())];
  const bool is_fp32 = std::get<1>(GetParam()) == Precision::kFp32;
  std::vector<Microbatches> all = {c["microbatches"].get<Microbatches>()};
  // The documents in one packed sequence, and each in its own microbatch.
  if (!c.contains("token_weighting") || !c["token_weighting"]["normalize"].get<bool>())
    all.push_back({{0}, {1}, {2}});
  for (const Microbatches& microbatches : all) {
    SCOPED_TRACE(::testing::Message() << microbatches.size() << " microbatches");
    const Trajectory ours = Train(file, c, std::get<1>(GetParam()), microbatches);
    for (size_t step = 0; step < ours.losses.size(); ++step) {
      const double loss = c["losses"][step], norm = c["grad_norms"][step];
      // bf16 keeps 8 bits of each activation; the weights of tokens follow its predictions. bf16_sr
      // keeps 8 bits of each parameter, too.
      EXPECT_NEAR(ours.losses[step], loss, loss * (is_fp32 ? 1e-4 : 2e-2)) << "step " << step;
      EXPECT_NEAR(ours.norms[step], norm, norm * (is_fp32 ? 1e-4 : 1e-1)) << "step " << step;
    }
  }
}

// Of most targets of a random model, the margin is cut to 1: what is standardized are the roundings
// of the others, so only fp32 can agree.
std::vector<std::tuple<std::string, Precision>> Cases() {
  std::vector<std::tuple<std::string, Precision>> cases;
  const nlohmann::json file = golden::File("training/losses");
  for (const auto& [name, unused] : file["cases"].items()) {
    cases.emplace_back(name, Precision::kFp32);
    if (name == "margin") continue;
    cases.emplace_back(name, Precision::kBf16);
    cases.emplace_back(name, Precision::kBf16Sr);
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Goldens, TrainingLossTest, ::testing::ValuesIn(Cases()),
                         [](const auto& info) {
                           const Precision precision = std::get<1>(info.param);
                           return std::get<0>(info.param) + (precision == Precision::kFp32 ? "_fp32"
                                                             : precision == Precision::kBf16
                                                                 ? "_bf16"
                                                                 : "_bf16_sr");
                         });

// The evaluation has the training loss's smoothing, as in transformers, and no weights of tokens.
TEST(TrainingLossTest, LossSumIsSmoothedAndNotWeighted) {
  const TempDir folder;
  const nlohmann::json golden = golden::Read("llama_tied");
  const auto parameters = golden::Load(golden, Precision::kFp32, folder.path());
  const auto sum = [&](const DecoderOptions& options) {
    Decoder decoder(golden::Config(golden), *parameters, options);
    return decoder.LossSum(ToDevice(golden::Pack(golden, {0, 2}), TestDevice())).item<double>();
  };
  const double plain = sum({});
  EXPECT_EQ(sum({.token_weighting = TokenWeighting{}}), plain);
  EXPECT_GT(std::abs(sum({.label_smoothing = 0.1}) - plain), 1e-5 * plain);
}

// Documents of one weight each: loss and gradient are the weighted sums of those of the documents.
// The evaluation has the weights, too.
TEST(TrainingLossTest, WeightsOfMessagesMultiplyTheirLosses) {
  const std::vector<float> factors = {0.5f, 1.0f, 3.0f};
  const nlohmann::json golden = golden::Read("qwen3");
  for (const DecoderOptions& options :
       {DecoderOptions{}, DecoderOptions{.label_smoothing = 0.1},
        DecoderOptions{.token_weighting = TokenWeighting{
                           .normalize = false, .min_weight = 0.5, .max_weight = 4.0}}}) {
    const TempDir folder;
    const auto parameters = golden::Load(golden, Precision::kFp32, folder.path());
    Decoder decoder(golden::Config(golden), *parameters, options);
    double expected = 0, expected_evaluation = 0;
    at::Tensor gradient = at::zeros_like(parameters->flat_grad());
    Microbatch all = golden::Pack(golden, {0, 1, 2});
    for (size_t i = 0; i < factors.size(); ++i) {
      const Microbatch one = golden::Pack(golden, {i});
      all.weights.insert(all.weights.end(), one.ids.size(), factors[i]);
      parameters->ZeroGrad();
      const DeviceBatch batch = ToDevice(one, TestDevice());
      expected += factors[i] * decoder.ForwardBackward(batch, 0.01).item<double>();
      expected_evaluation += factors[i] * decoder.LossSum(batch).item<double>();
      gradient.add_(parameters->flat_grad(), factors[i]);
    }
    parameters->ZeroGrad();
    const DeviceBatch batch = ToDevice(all, TestDevice());
    EXPECT_NEAR(decoder.ForwardBackward(batch, 0.01).item<double>(), expected, 1e-5 * expected);
    EXPECT_NEAR(decoder.LossSum(batch).item<double>(), expected_evaluation,
                1e-5 * expected_evaluation);
    EXPECT_LE((parameters->flat_grad() - gradient).norm().item<double>(),
              1e-5 * gradient.norm().item<double>());
  }
}

TEST(TrainingLossTest, WeightsOfOneChangeNoBit) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    const TempDir folder;
    const nlohmann::json golden = golden::Read("granite");
    const auto parameters = golden::Load(golden, precision, folder.path());
    Decoder decoder(golden::Config(golden), *parameters, {.label_smoothing = 0.1});
    Microbatch batch = golden::Pack(golden, {0, 1, 2});
    const double loss = decoder.ForwardBackward(ToDevice(batch, TestDevice()), 0.01).item<double>();
    const at::Tensor gradient = parameters->flat_grad().clone();
    parameters->ZeroGrad();
    batch.weights.assign(batch.ids.size(), 1.0f);
    EXPECT_EQ(decoder.ForwardBackward(ToDevice(batch, TestDevice()), 0.01).item<double>(), loss);
    EXPECT_TRUE(parameters->flat_grad().equal(gradient));
  }
}

}  // namespace
}  // namespace trainerd::engine
