// SPDX-License-Identifier: Apache-2.0
// config.json of Qwen3-MoE and Gemma, and which layers of a mixture of experts can have an adapter.
// Expectations are read off the configuration classes of transformers 5.23.0.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/model/config/model_config.h"
#include "engine/model/folder/adapter.h"
#include "engine/model/folder/weight_spec.h"

namespace trainerd::engine {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

Json Qwen3Moe() {
  return {{"model_type", "qwen3_moe"}, {"architectures", {"Qwen3MoeForCausalLM"}},
          {"vocab_size", 100},         {"hidden_size", 32},
          {"intermediate_size", 64},   {"num_hidden_layers", 6},
          {"num_attention_heads", 4},  {"num_key_value_heads", 2},
          {"hidden_act", "silu"}};
}

absl::StatusOr<ModelConfig> Read(const Json& json) {
  return ParseModelConfig(json.dump(), "some/config.json");
}

std::vector<bool> WithExperts(const Json& json) {
  const auto config = Read(json);
  EXPECT_TRUE(config.ok()) << config.status();
  std::vector<bool> layers;
  for (const LayerSpec& layer : config->block.layers) layers.push_back(layer.has_experts);
  return layers;
}

TEST(ExpertsConfigTest, AppliesTheDefaults) {
  const auto config = Read(Qwen3Moe());
  ASSERT_TRUE(config.ok()) << config.status();
  const ExpertsSpec& experts = config->block.experts;
  EXPECT_EQ(experts.count, 128);
  EXPECT_EQ(experts.per_token, 8);
  EXPECT_EQ(experts.intermediate_size, 768);
  EXPECT_FALSE(experts.normalizes);
  EXPECT_EQ(experts.balance_factor, 0.0);
  EXPECT_EQ(config->head_dim, 8);
}

TEST(ExpertsConfigTest, ACoefficientOfZeroIsNoBalancing) {
  Json json = Qwen3Moe();
  json.update({{"output_router_logits", true}, {"router_aux_loss_coef", 0.0}});
  const auto config = Read(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->block.experts.balance_factor, 0.0);
  json["router_aux_loss_coef"] = -0.5;
  EXPECT_THAT(Read(json).status().message(), HasSubstr("router_aux_loss_coef"));
}

TEST(ExpertsConfigTest, BalancesIfTheRoutersLogitsAreOutput) {
  Json json = Qwen3Moe();
  json.update(
      {{"output_router_logits", true}, {"num_local_experts", 4}, {"num_experts_per_tok", 2}});
  const auto config = Read(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->block.experts.balance_factor, 0.001);
  EXPECT_EQ(config->block.experts.count, 4);
}

TEST(ExpertsConfigTest, SelectsTheLayersWithExperts) {
  Json json = Qwen3Moe();
  EXPECT_THAT(WithExperts(json), ElementsAre(true, true, true, true, true, true));
  json["mlp_only_layers"] = {0, 5, 9};
  EXPECT_THAT(WithExperts(json), ElementsAre(false, true, true, true, true, false));
  json["decoder_sparse_step"] = 2;
  EXPECT_THAT(WithExperts(json), ElementsAre(false, true, false, true, false, false));
  json["mlp_only_layers"] = nullptr;
  EXPECT_THAT(WithExperts(json), ElementsAre(false, true, false, true, false, true));
}

TEST(ExpertsConfigTest, RefusesMoreExpertsPerTokenThanThereAre) {
  Json json = Qwen3Moe();
  json.update({{"num_experts", 4}, {"num_experts_per_tok", 5}});
  EXPECT_THAT(std::string(Read(json).status().message()),
              AllOf(HasSubstr("\"num_experts_per_tok\" is 5"), HasSubstr("4 experts")));
}

// Qwen3-30B-A3B has 30.5 billion parameters (model card), 30,532,122,624 in its files.
TEST(ExpertsConfigTest, Qwen3MoeHasItsPublishedSize) {
  Json json = Qwen3Moe();
  json.update({{"vocab_size", 151936},
               {"hidden_size", 2048},
               {"intermediate_size", 6144},
               {"num_hidden_layers", 48},
               {"num_attention_heads", 32},
               {"num_key_value_heads", 4},
               {"head_dim", 128}});
  const auto config = Read(json);
  ASSERT_TRUE(config.ok()) << config.status();
  int64_t parameters = 0;
  for (const WeightSpec& spec : WeightsOf(*config)) {
    int64_t count = 1;
    for (const int64_t size : spec.shape) count *= size;
    parameters += count;
  }
  EXPECT_EQ(parameters, 30532122624);
}

TEST(ExpertsConfigTest, AdaptersAreForLayersWithoutExperts) {
  Json json = Qwen3Moe();
  json.update({{"num_experts", 4}, {"num_experts_per_tok", 2}});
  v1::LoraConfig lora;
  lora.set_r(2);
  lora.set_alpha(4);
  const auto all = ResolveAdapter(lora, *Read(json));
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(all->targets.size(), 4U * 6U);
  for (const char* name : {"gate_proj", "experts", "mlp.gate", "*.experts.0.*", "mlp"}) {
    lora.clear_target_modules();
    lora.add_target_modules("q_proj");
    lora.add_target_modules(name);
    const auto refused = ResolveAdapter(lora, *Read(json));
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(refused.status().message()),
                AllOf(HasSubstr("lora.target_modules[1]"),
                      HasSubstr("the router and the experts have none")))
        << name;
  }
  // Layers without experts have the usual ones.
  json["mlp_only_layers"] = {2};
  lora.clear_target_modules();
  lora.add_target_modules("up_proj");
  const auto dense = ResolveAdapter(lora, *Read(json));
  ASSERT_TRUE(dense.ok()) << dense.status();
  EXPECT_EQ(dense->targets.size(), 1U);
}

TEST(GemmaConfigTest, OldFilesMeanTheTanhApproximation) {
  Json json = Qwen3Moe();
  json.update({{"model_type", "gemma"}, {"architectures", {"GemmaForCausalLM"}}});
  for (const char* activation : {"gelu", "gelu_pytorch_tanh"}) {
    json["hidden_act"] = activation;
    const auto config = Read(json);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->block.activation, Activation::kGeluTanh);
    EXPECT_EQ(config->head_dim, 256);
    EXPECT_EQ(config->block.norm_offset, 1.0);
    EXPECT_EQ(config->block.norm_placement, NormPlacement::kPre);
  }
  json["use_bidirectional_attention"] = true;
  EXPECT_EQ(Read(json).status().code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace trainerd::engine
