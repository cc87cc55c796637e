// SPDX-License-Identifier: Apache-2.0
// Updates and 40 steps of training against torch.optim.Muon and AdamW 2.11.0
// (tests/golden/optim/muon.json); which parameters have which state; resume; threads.
#include <ATen/Parallel.h>

#include <set>

#include "tests/engine/optim/golden_optimizer.h"

namespace trainerd::engine {
namespace {

using testing::GoldenModel;

const nlohmann::json& File() {
  static const auto* const file = new nlohmann::json(golden::File("optim/muon"));
  return *file;
}

v1::OptimizerConfig Config(const nlohmann::json& muon) {
  v1::OptimizerConfig config;
  config.set_type(v1::OptimizerConfig::TYPE_MUON);
  config.set_learning_rate(muon["learning_rate"]);
  config.set_weight_decay(muon["weight_decay"]);
  config.set_momentum(muon["momentum"]);
  config.set_nesterov(muon["nesterov"]);
  config.set_newton_schulz_steps(muon["newton_schulz_steps"]);
  config.set_newton_schulz_precision(muon["newton_schulz_precision"] == "bf16"
                                         ? v1::OptimizerConfig::NEWTON_SCHULZ_PRECISION_BF16
                                         : v1::OptimizerConfig::NEWTON_SCHULZ_PRECISION_FP32);
  config.set_adjust_learning_rate(muon["adjust_learning_rate"] == "original"
                                      ? v1::OptimizerConfig::ADJUST_LEARNING_RATE_ORIGINAL
                                      : v1::OptimizerConfig::ADJUST_LEARNING_RATE_MATCH_RMS_ADAMW);
  const nlohmann::json& adamw = File()["adamw"];
  config.mutable_adamw()->set_learning_rate(adamw["learning_rate"]);
  config.mutable_adamw()->set_weight_decay(adamw["weight_decay"]);
  config.mutable_adamw()->set_eps(adamw["eps"]);
  for (const double beta : adamw["betas"]) config.mutable_adamw()->add_betas(beta);
  return config;
}

v1::OptimizerConfig DefaultConfig() { return Config(File()["cases"][0]["muon"]); }

at::Tensor Same(const at::Tensor& gradient) { return gradient; }

// The AdamW part is as exact as in fp32. Products of bf16 numbers are rounded to bf16 at other
// places than in torch, which computes one matrix at a time, and a difference of one unit in the
// last place (2^-8) remains through the iterations.
double ToleranceOf(const nlohmann::json& muon) {
  return muon["newton_schulz_precision"] == "bf16" ? 2e-2 : 2e-4;
}

class MuonTest : public ::testing::TestWithParam<Precision> {};

TEST_P(MuonTest, EqualsTorch) {
  ASSERT_EQ(File()["cases"].size(), 6u);
  for (const nlohmann::json& c : File()["cases"]) {
    GoldenModel model(File(), GetParam());
    const v1::OptimizerConfig config = Config(c["muon"]);
    const std::unique_ptr<Optimizer> optimizer = testing::Build(config, *model.parameters);
    for (int update = 0; update < c["updates"]; ++update) {
      model.MakeGradients(update, Same);
      optimizer->Step(LearningRatePeaks(config), File()["gradient_factor"], update + 1);
    }
    const std::string what = c["muon"].dump();
    testing::ExpectMoved(*model.parameters, c["tensors"], ToleranceOf(c["muon"]), what);
    EXPECT_TRUE(at::equal(model.parameters->flat_value(),
                          model.parameters->flat_master().to(model.parameters->compute_dtype())));
    testing::ExpectStatesAsListed(*model.parameters, *optimizer, config);
    const OptimizerState first = optimizer->State()[0];
    if (config.momentum() == 0) {
      EXPECT_EQ(first.name, "exp_avg");
      continue;
    }
    EXPECT_EQ(first.name, "momentum_buffer");
    for (size_t i = 0; i < first.tensors.size(); ++i) {
      const nlohmann::json& expected = c["tensors"][model.parameters->parameters()[i].name];
      ASSERT_EQ(first.tensors[i].defined(), expected.contains("momentum"));
      if (!first.tensors[i].defined()) continue;
      const auto momentum = expected["momentum"].get<std::vector<double>>();
      for (size_t k = 0; k < momentum.size(); ++k) {
        EXPECT_NEAR(first.tensors[i].flatten()[static_cast<int64_t>(k)].item<double>(), momentum[k],
                    1e-7);
      }
    }
  }
}

TEST_P(MuonTest, TrainsAsTorch) {
  for (const char* name : {"fp32", "fp32_schulz_bf16", "bf16"}) {
    const bool in_bf16 = std::string(name) == "bf16";
    if (in_bf16 != (GetParam() == Precision::kBf16)) continue;
    const nlohmann::json& run = File()["training"][name];
    // bf16: see ToleranceOf; torch.autocast rounds at other places than the decoder.
    const bool is_exact = std::string(name) == "fp32";
    for (const bool packed : {true, false}) {
      const testing::TrainingDifference worst =
          testing::CompareTraining(File(), run, Config(run["muon"]), GetParam(), packed);
      EXPECT_LE(worst.loss, is_exact ? 1e-4 : 2e-2) << name << " packed " << packed;
      EXPECT_LE(worst.norm, is_exact ? 1e-4 : 5e-2) << name << " packed " << packed;
    }
  }
}

TEST_P(MuonTest, ResumesBitForBit) {
  testing::ExpectExactResume(File(), DefaultConfig(), GetParam());
  testing::ExpectExactResume(File(), DefaultConfig(), GetParam(),
                             {"model.embed_tokens.*", "*.q_proj.weight", "model.layers.0.*"});
}

// Batches hold what trains alone: the other matrices move as if nothing was frozen.
TEST_P(MuonTest, FrozenMatricesChangeNoOther) {
  const std::set<std::string> frozen = {"model.layers.0.self_attn.q_proj.weight",
                                        "model.layers.1.mlp.down_proj.weight", "lm_head.weight"};
  GoldenModel whole(File(), GetParam()),
      partial(File(), GetParam(), {frozen.begin(), frozen.end()});
  const v1::OptimizerConfig config = DefaultConfig();
  for (GoldenModel* model : {&whole, &partial}) {
    const auto optimizer = testing::Build(config, *model->parameters);
    for (int update = 0; update < 2; ++update) {
      model->MakeGradients(update, Same);
      optimizer->Step(LearningRatePeaks(config), 1.0, update + 1);
    }
    testing::ExpectStatesAsListed(*model->parameters, *optimizer, config);
  }
  for (const Parameter& parameter : partial.parameters->parameters()) {
    EXPECT_EQ(parameter.trains(), frozen.count(parameter.name) == 0);
    const Parameter& other = *whole.parameters->Find(parameter.name);
    if (!parameter.trains()) continue;
    EXPECT_LE((parameter.master - other.master).abs().max().item<double>(), 1e-6) << parameter.name;
  }
}

TEST_P(MuonTest, DecaysEachPartAtItsOwnRate) {
  for (const bool decay_norms : {false, true}) {
    GoldenModel model(File(), GetParam());
    v1::OptimizerConfig config = DefaultConfig();
    config.set_weight_decay(0.5);
    config.mutable_adamw()->set_weight_decay(0.25);
    config.set_decay_norms(decay_norms);
    model.parameters->flat_master().fill_(1.0);
    testing::Build(config, *model.parameters)->Step({0.1, 0.2}, 1.0, 1);
    for (const Parameter& parameter : model.parameters->parameters()) {
      const bool is_vector = parameter.master.dim() == 1;
      const bool is_matrix = parameter.group() == ParameterGroup::kMatrix;
      const float expected = is_matrix ? 0.95f : (!is_vector || decay_norms ? 0.95f : 1.0f);
      EXPECT_FLOAT_EQ(parameter.master.min().item<float>(), expected) << parameter.name;
      EXPECT_FLOAT_EQ(parameter.master.max().item<float>(), expected) << parameter.name;
    }
  }
}

TEST_P(MuonTest, ThreadsChangeNothing) {
  std::vector<at::Tensor> masters;
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    GoldenModel model(File(), GetParam());
    const v1::OptimizerConfig config = DefaultConfig();
    const auto optimizer = testing::Build(config, *model.parameters);
    for (int update = 0; update < 3; ++update) {
      model.MakeGradients(update, Same);
      optimizer->Step(LearningRatePeaks(config), 1.0, update + 1);
    }
    masters.push_back(model.parameters->flat_master().clone());
  }
  EXPECT_LE((masters[0] - masters[1]).abs().max().item<double>(), 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Precisions, MuonTest,
                         ::testing::Values(Precision::kFp32, Precision::kBf16),
                         [](const auto& info) {
                           return std::string(info.param == Precision::kFp32 ? "fp32" : "bf16");
                         });

}  // namespace
}  // namespace trainerd::engine
