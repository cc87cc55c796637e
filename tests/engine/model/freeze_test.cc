// SPDX-License-Identifier: Apache-2.0
// Frozen parameters against transformers 5.23.0 with requires_grad_(False) and torch 2.11.0's AdamW
// with clipping (tests/golden/training/freeze.json); what a frozen parameter does not have; where
// the backward pass stops.
#include "engine/model/folder/freeze.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "engine/model/decoder.h"
#include "engine/ops/op_table.h"
#include "engine/optim/global_norm.h"
#include "tests/engine/model/counting_ops.h"
#include "tests/engine/model/golden_model.h"
#include "tests/engine/optim/optimizers.h"

namespace trainerd::engine {
namespace {

using testing::BackwardCounts;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TestDevice;

TEST(MatchesPatternTest, StarStandsForAnyText) {
  EXPECT_TRUE(MatchesPattern("model.embed_tokens.*", "model.embed_tokens.weight"));
  EXPECT_TRUE(MatchesPattern("*", "lm_head.weight"));
  EXPECT_TRUE(MatchesPattern("*.k_proj.*", "model.layers.0.self_attn.k_proj.bias"));
  EXPECT_TRUE(MatchesPattern("model.layers.*0.*weight", "model.layers.10.mlp.up_proj.weight"));
  EXPECT_TRUE(MatchesPattern("a*", "a"));
  EXPECT_TRUE(MatchesPattern("a*ab", "aaab"));
  EXPECT_FALSE(MatchesPattern("model.layers.1.*", "model.layers.10.mlp.up_proj.weight"));
  EXPECT_FALSE(MatchesPattern("model.norm", "model.norm.weight"));
  EXPECT_FALSE(MatchesPattern("model?norm.weight", "model.norm.weight"));
  EXPECT_FALSE(MatchesPattern("", "a"));
}

TEST(ResolveFreezeTest, NamesThePatternThatMatchesNothing) {
  const ModelConfig tied = golden::Config(golden::Read("llama_tied"));
  const auto frozen =
      ResolveFreeze(tied, {"model.layers.1.self_attn.?_proj.weight", "model.norm.weight"});
  EXPECT_TRUE(absl::IsInvalidArgument(frozen.status()));
  EXPECT_THAT(std::string(frozen.status().message()),
              HasSubstr("train.freeze[0]: \"model.layers.1.self_attn.?_proj.weight\" matches no"));
  EXPECT_THAT(std::string(ResolveFreeze(tied, {"lm_head.*"}).status().message()),
              HasSubstr("head is tied to the embedding; freeze model.embed_tokens.weight"));
  EXPECT_THAT(*ResolveFreeze(tied, {"*1.mlp.up*", "model.norm.weight"}),
              ElementsAre("model.layers.1.mlp.up_proj.weight", "model.norm.weight"));
  EXPECT_TRUE(ResolveFreeze(tied, {})->empty());
}

TEST(ResolveFreezeTest, RefusesToFreezeEverything) {
  const ModelConfig config = golden::Config(golden::Read("llama3_rope_bias"));
  EXPECT_THAT(std::string(ResolveFreeze(config, {"model.*", "lm_*"}).status().message()),
              HasSubstr("nothing would train"));
  EXPECT_TRUE(ResolveFreeze(config, {"model.*"}).ok());
}

double Norm(const at::Tensor& x) {
  return std::sqrt(x.to(at::kDouble).square().sum().item<double>());
}

at::Tensor Initial(const Parameter& parameter) {
  std::vector<float> values = golden::Weights(parameter.name, parameter.value.numel());
  return at::from_blob(values.data(), parameter.value.sizes(), at::kFloat).clone();
}

// A golden model with frozen parameters, over the golden documents.
struct FrozenModel {
  FrozenModel(const std::string& model, const std::vector<std::string>& patterns,
              Precision precision)
      : golden(golden::Read(model)) {
    golden::WriteFolder(golden, folder.path());
    const ModelConfig config = golden::Config(golden);
    const auto frozen = ResolveFreeze(config, patterns);
    EXPECT_TRUE(frozen.ok()) << frozen.status();
    parameters = *ParameterSet::Create(config, precision, TestDevice(), *frozen);
    const absl::Status loaded = parameters->Load(**HfFolder::Open(folder.path()));
    EXPECT_TRUE(loaded.ok()) << loaded;
    decoder = std::make_unique<Decoder>(config, *parameters);
  }
  DeviceBatch Batch() const { return ToDevice(golden::Pack(golden, {0, 1, 2}), TestDevice()); }
  // Loss of the batch; its gradients are in the parameters.
  double Backward() {
    parameters->ZeroGrad();
    const double targets = golden["targets"].get<double>();
    return decoder->ForwardBackward(Batch(), 1.0 / targets).item<double>() / targets;
  }

  TempDir folder;
  nlohmann::json golden;
  std::unique_ptr<ParameterSet> parameters;
  std::unique_ptr<Decoder> decoder;
};

class FreezeTest : public ::testing::TestWithParam<std::tuple<const char*, Precision>> {};

TEST_P(FreezeTest, TrainsAsTransformersWithoutRequiresGrad) {
  const nlohmann::json file = golden::File("training/freeze");
  const nlohmann::json& c = file["cases"][std::get<0>(GetParam())];
  const Precision precision = std::get<1>(GetParam());
  const bool is_fp32 = precision == Precision::kFp32;
  FrozenModel model(c["model"], c["freeze"].get<std::vector<std::string>>(), precision);
  v1::OptimizerConfig config = testing::AdamWConfig();
  config.set_betas(0, file["beta1"]);
  config.set_betas(1, file["beta2"]);
  config.set_weight_decay(file["weight_decay"]);
  const std::unique_ptr<Optimizer> optimizer = testing::Build(config, *model.parameters);
  for (size_t step = 0; step < c["losses"].size(); ++step) {
    const double loss = c["losses"][step], norm = c["grad_norms"][step];
    EXPECT_NEAR(model.Backward(), loss, loss * (is_fp32 ? 1e-5 : 1e-2)) << "step " << step;
    const double ours = GlobalNorm(model.parameters->flat_grad()).item<double>();
    EXPECT_NEAR(ours, norm, norm * (is_fp32 ? 1e-4 : 5e-2)) << "step " << step;
    const double clip = std::min(1.0, file["max_grad_norm"].get<double>() / (ours + 1e-6));
    optimizer->Step({file["learning_rate"].get<double>()}, clip, static_cast<int64_t>(step) + 1);
  }
  size_t trained = 0;
  for (const Parameter& parameter : model.parameters->parameters()) {
    if (!parameter.trains()) {
      EXPECT_FALSE(c["trained"].contains(parameter.name)) << parameter.name;
      EXPECT_TRUE(at::equal(parameter.stored().cpu(), Initial(parameter))) << parameter.name;
      continue;
    }
    ++trained;
    const nlohmann::json& expected = c["trained"][parameter.name];
    const double change = expected["change"];
    // A bias of the keys shifts all scores of a query almost equally, so its gradient is close to
    // 0, and AdamW turns rounding differences of such a gradient into whole updates.
    const bool is_key_bias = parameter.role == WeightRole::kKeyBias;
    EXPECT_NEAR(Norm(parameter.master.cpu() - Initial(parameter)), change,
                change * (is_fp32 ? 1e-3 : (is_key_bias ? 0.3 : 5e-2)))
        << parameter.name;
    const auto first = expected["first"].get<std::vector<double>>();
    for (size_t i = 0; is_fp32 && i < first.size(); ++i) {
      EXPECT_NEAR(parameter.master.flatten()[static_cast<int64_t>(i)].item<double>(), first[i],
                  is_key_bias ? 5e-4 : 2e-5)
          << parameter.name;
    }
  }
  EXPECT_EQ(trained, c["trained"].size());
}

TEST_P(FreezeTest, FrozenParametersHaveNoMasterGradientOrState) {
  const nlohmann::json c = golden::File("training/freeze")["cases"][std::get<0>(GetParam())];
  const FrozenModel model(c["model"], c["freeze"].get<std::vector<std::string>>(),
                          std::get<1>(GetParam()));
  const std::unique_ptr<Optimizer> optimizer =
      testing::Build(testing::AdamWConfig(), *model.parameters);
  int64_t training = 0, padding = 0;
  const auto parameters = model.parameters->parameters();
  for (size_t i = 0; i < parameters.size(); ++i) {
    const bool trains = c["trained"].contains(parameters[i].name);
    EXPECT_EQ(parameters[i].trains(), trains) << parameters[i].name;
    EXPECT_EQ(parameters[i].master.defined(), trains) << parameters[i].name;
    for (const OptimizerState& state : optimizer->State())
      EXPECT_EQ(state.tensors[i].defined(), trains) << parameters[i].name;
    if (trains) training += parameters[i].value.numel(), padding += 32;
  }
  EXPECT_EQ(model.parameters->num_training(), training);
  EXPECT_LT(training, model.parameters->num_parameters());
  for (const at::Tensor& flat : {model.parameters->flat_grad(), model.parameters->flat_master()}) {
    EXPECT_GE(flat.numel(), training);
    EXPECT_LT(flat.numel(), training + padding);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Patterns, FreezeTest,
    ::testing::Combine(::testing::Values("embedding_tied", "embedding", "lower_layers", "k_proj",
                                         "matrices_of_groups", "all_but_head", "all_but_q_norm"),
                       ::testing::Values(Precision::kFp32, Precision::kBf16)),
    [](const auto& info) {
      return std::string(std::get<0>(info.param)) +
             (std::get<1>(info.param) == Precision::kFp32 ? "_fp32" : "_bf16");
    });

BackwardCounts CountBackward(const std::vector<std::string>& patterns) {
  return testing::CountBackward([&] {
    FrozenModel model("llama3_rope_bias", patterns, Precision::kFp32);
    model.Backward();
  });
}

// Two layers; the golden's embedding and head are not tied.
TEST(FrozenBackwardTest, StopsAtTheLowestLayerThatTrains) {
  if (testing::TestDeviceIsCuda()) GTEST_SKIP() << "counts the kernels of the CPU";
  const BackwardCounts all = CountBackward({});
  EXPECT_EQ(all.norm, 5);
  EXPECT_EQ(all.attention, 2);
  EXPECT_EQ(all.swiglu, 2);
  EXPECT_EQ(all.embedding, 1);
  const BackwardCounts embedding = CountBackward({"model.embed_tokens.*"});
  EXPECT_EQ(embedding.embedding, 0);
  EXPECT_EQ(embedding.attention, 2);
  const BackwardCounts lower = CountBackward({"model.embed_tokens.*", "model.layers.0.*"});
  EXPECT_EQ(lower.norm, 3);
  EXPECT_EQ(lower.attention, 1);
  EXPECT_EQ(lower.swiglu, 1);
  EXPECT_EQ(lower.embedding, 0);
  // The second MLP alone, without its norm.
  const BackwardCounts mlp =
      CountBackward({"model.embed_tokens.*", "model.layers.0.*", "*input_layernorm*", "*self_attn*",
                     "model.layers.1.post_attention_layernorm.weight"});
  EXPECT_EQ(mlp.norm, 1);
  EXPECT_EQ(mlp.attention, 0);
  EXPECT_EQ(mlp.swiglu, 1);
  const BackwardCounts head = CountBackward({"model.*"});
  EXPECT_EQ(head.norm + head.attention + head.swiglu + head.embedding, 0);
}

TEST(FrozenLinearTest, SplitsAGroupOnlyWhereItsMembersDiffer) {
  const auto qkv_of = [](const FrozenModel& model, int64_t layer) {
    return model.parameters->Linear({WeightRole::kQuery, WeightRole::kValue},
                                    {WeightRole::kQueryBias, WeightRole::kValueBias}, layer);
  };
  const FrozenModel model("qwen2", {"model.layers.0.self_attn.k_proj.weight", "*.1.self_attn.*"},
                          Precision::kFp32);
  const LinearWeights split = qkv_of(model, 0);
  ASSERT_EQ(split.more.size(), 2u);
  EXPECT_TRUE(split.weight_grad.defined());
  EXPECT_FALSE(split.more[0].weight_grad.defined());
  EXPECT_TRUE(split.more[0].bias_grad.defined());
  EXPECT_TRUE(split.more[1].weight_grad.defined());
  const LinearWeights frozen = qkv_of(model, 1);
  EXPECT_TRUE(frozen.more.empty());
  EXPECT_FALSE(frozen.weight_grad.defined() || frozen.bias_grad.defined());
  EXPECT_EQ(frozen.weight.sizes(), (at::IntArrayRef{32 + 2 * 16, 32}));
}

}  // namespace
}  // namespace trainerd::engine
