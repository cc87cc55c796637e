// SPDX-License-Identifier: Apache-2.0
// Updates, quantized state and 40 steps of training against bitsandbytes.optim.AdamW8bit 0.50.2 on
// the CPU (tests/golden/optim/adamw_8bit.json); resume; threads; memory.
#include <ATen/Parallel.h>

#include "absl/strings/escaping.h"
#include "engine/ops/dynamic_code.h"
#include "tests/engine/optim/golden_optimizer.h"

namespace trainerd::engine {
namespace {

using testing::GoldenModel;

const nlohmann::json& File() {
  static const auto* const file = new nlohmann::json(golden::File("optim/adamw_8bit"));
  return *file;
}

v1::OptimizerConfig Config() {
  const nlohmann::json& golden = File()["adamw_8bit"];
  v1::OptimizerConfig config;
  config.set_type(v1::OptimizerConfig::TYPE_ADAMW_8BIT);
  config.set_learning_rate(golden["learning_rate"]);
  config.set_weight_decay(golden["weight_decay"]);
  config.set_eps(golden["eps"]);
  for (const double beta : golden["betas"]) config.add_betas(beta);
  return config;
}

at::Tensor Cubed(const at::Tensor& gradient) { return gradient * gradient * gradient; }

TEST(DynamicCodeTest, HasTheValuesOfBitsandbytes) {
  for (const bool is_signed : {false, true}) {
    const DynamicCode code = MakeDynamicCode(is_signed, at::kCPU);
    const auto expected =
        File()["values"][is_signed ? "signed" : "unsigned"].get<std::vector<double>>();
    ASSERT_EQ(expected.size(), 256u);
    for (int64_t i = 0; i < 256; ++i) {
      // torch.linspace, from which bitsandbytes makes them, rounds as the CPU's vectors are wide: 1
      // or 2 units in the last place.
      const double value = expected[static_cast<size_t>(i)];
      EXPECT_NEAR(code.values[i].item<double>(), value, 2.4e-7 * std::abs(value))
          << is_signed << " " << i;
    }
  }
}

class AdamW8bitTest : public ::testing::TestWithParam<Precision> {};

// Codes that differ: a rounding of the last bit can move a value across the border of two cells.
int64_t ExpectCodesNear(const at::Tensor& codes, const nlohmann::json& base64) {
  std::string expected;
  EXPECT_TRUE(absl::Base64Unescape(base64.get<std::string>(), &expected));
  EXPECT_EQ(codes.numel(), static_cast<int64_t>(expected.size()));
  const at::Tensor stored =
      at::from_blob(expected.data(), {codes.numel()}, at::TensorOptions().dtype(at::kByte));
  const at::Tensor distance = (codes.flatten().to(at::kInt) - stored.to(at::kInt)).abs();
  EXPECT_LE(distance.max().item<int>(), 1);
  return distance.sum().item<int64_t>();
}

TEST_P(AdamW8bitTest, EqualsBitsandbytes) {
  GoldenModel model(File(), GetParam());
  const v1::OptimizerConfig config = Config();
  const std::unique_ptr<Optimizer> optimizer = testing::Build(config, *model.parameters);
  for (int update = 0; update < File()["updates"]; ++update) {
    model.MakeGradients(update, Cubed);
    optimizer->Step(LearningRatePeaks(config), File()["gradient_factor"], update + 1);
  }
  testing::ExpectMoved(*model.parameters, File()["tensors"], 2e-4, "");
  EXPECT_TRUE(at::equal(model.parameters->flat_value(),
                        model.parameters->flat_master().to(model.parameters->compute_dtype())));
  testing::ExpectStatesAsListed(*model.parameters, *optimizer, config);
  int compared = 0;
  for (const OptimizerState& state : optimizer->State()) {
    for (size_t i = 0; i < state.tensors.size(); ++i) {
      const nlohmann::json& tensor = File()["tensors"][model.parameters->parameters()[i].name];
      if (!tensor.contains("state") || !state.tensors[i].defined()) continue;
      const nlohmann::json& expected = tensor["state"][state.name];
      ++compared;
      if (expected.is_string()) {
        EXPECT_LE(ExpectCodesNear(state.tensors[i], expected), state.tensors[i].numel() / 1000);
        continue;
      }
      const auto absmax = expected.get<std::vector<double>>();
      ASSERT_EQ(state.tensors[i].numel(), static_cast<int64_t>(absmax.size()));
      for (size_t k = 0; k < absmax.size(); ++k) {
        EXPECT_NEAR(state.tensors[i][static_cast<int64_t>(k)].item<double>(), absmax[k],
                    1e-5 * absmax[k]);
      }
    }
  }
  EXPECT_EQ(compared, 8);
}

TEST_P(AdamW8bitTest, TrainsAsBitsandbytes) {
  const bool is_fp32 = GetParam() == Precision::kFp32;
  const nlohmann::json& run = File()["training"][is_fp32 ? "fp32" : "bf16"];
  for (const bool packed : {true, false}) {
    const testing::TrainingDifference worst =
        testing::CompareTraining(File(), run, Config(), GetParam(), packed);
    // bf16: torch.autocast rounds at other places than the decoder.
    EXPECT_LE(worst.loss, is_fp32 ? 1e-4 : 2e-2) << "packed " << packed;
    EXPECT_LE(worst.norm, is_fp32 ? 1e-4 : 5e-2) << "packed " << packed;
  }
}

TEST_P(AdamW8bitTest, ResumesBitForBit) {
  testing::ExpectExactResume(File(), Config(), GetParam());
  testing::ExpectExactResume(File(), Config(), GetParam(), {"lm_head.*", "*.up_proj.weight"});
}

TEST_P(AdamW8bitTest, DecaysNormsAndBiasesOnlyOnRequest) {
  for (const bool decay_norms : {false, true}) {
    GoldenModel model(File(), GetParam());
    v1::OptimizerConfig config = Config();
    config.set_weight_decay(0.5);
    config.set_decay_norms(decay_norms);
    model.parameters->flat_master().fill_(1.0);
    testing::Build(config, *model.parameters)->Step({0.1}, 1.0, 1);
    for (const Parameter& parameter : model.parameters->parameters()) {
      const float expected = parameter.master.dim() == 2 || decay_norms ? 0.95f : 1.0f;
      EXPECT_FLOAT_EQ(parameter.master.min().item<float>(), expected) << parameter.name;
      EXPECT_FLOAT_EQ(parameter.master.max().item<float>(), expected) << parameter.name;
    }
  }
}

TEST_P(AdamW8bitTest, ThreadsChangeNoBit) {
  std::vector<std::vector<at::Tensor>> results;
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    GoldenModel model(File(), GetParam());
    const auto optimizer = testing::Build(Config(), *model.parameters);
    for (int update = 0; update < 3; ++update) {
      model.MakeGradients(update, Cubed);
      optimizer->Step({1e-2}, 1.0, update + 1);
    }
    results.push_back(testing::Copy(testing::StateTensors(*optimizer)));
    results.back().push_back(model.parameters->flat_master().clone());
  }
  EXPECT_TRUE(testing::Equal(results[0], results[1]));
}

TEST_P(AdamW8bitTest, KeepsTwoBytesAndTwoScalesPerBlock) {
  GoldenModel model(File(), GetParam());
  const auto optimizer = testing::Build(Config(), *model.parameters);
  std::map<bool, int64_t> bytes, elements;
  const auto parameters = model.parameters->parameters();
  for (size_t i = 0; i < parameters.size(); ++i) {
    const bool is_large = parameters[i].value.numel() >= 4096;
    elements[is_large] += parameters[i].value.numel();
    for (const OptimizerState& state : optimizer->State()) {
      if (state.tensors[i].defined())
        bytes[is_large] += static_cast<int64_t>(state.tensors[i].nbytes());
    }
  }
  EXPECT_EQ(bytes[false], 8 * elements[false]);
  // A tensor's last block may be shorter.
  EXPECT_NEAR(static_cast<double>(bytes[true]),
              static_cast<double>(elements[true]) * (2 + 8.0 / 256),
              8.0 * static_cast<double>(parameters.size()));
}

// Squares of tiny gradients have a scale without a finite reciprocal.
TEST_P(AdamW8bitTest, TinyGradientsStayFinite) {
  GoldenModel model(File(), GetParam());
  const auto optimizer = testing::Build(Config(), *model.parameters);
  for (const double size : {0.0, 1e-21, 1e-19, 1e-30}) {
    model.parameters->flat_grad().fill_(size);
    optimizer->Step({1e-3}, 1.0, 1);
    EXPECT_TRUE(model.parameters->flat_master().isfinite().all().item<bool>()) << size;
    for (const at::Tensor& tensor : testing::StateTensors(*optimizer))
      EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << size;
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, AdamW8bitTest,
                         ::testing::Values(Precision::kFp32, Precision::kBf16),
                         [](const auto& info) {
                           return std::string(info.param == Precision::kFp32 ? "fp32" : "bf16");
                         });

}  // namespace
}  // namespace trainerd::engine
