// SPDX-License-Identifier: Apache-2.0
// Expectations: the layers that PEFT 0.21 matches for a list of target modules, and the names and
// shapes of a Llama's modules in transformers. adapter_folder_test.cc compares with files of PEFT.
#include "engine/model/folder/adapter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/engine/model/folder/tiny_folder.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Two layers; hidden size 8, MLP 16, keys 4, vocabulary 259.
ModelConfig Model(bool tied = true) {
  nlohmann::json json = TinyConfig();
  json["tie_word_embeddings"] = tied;
  return *ParseModelConfig(json.dump(), "config.json");
}

v1::LoraConfig Lora(const std::vector<std::string>& names) {
  v1::LoraConfig lora;
  lora.set_r(4);
  lora.set_alpha(6);
  for (const std::string& name : names) lora.add_target_modules(name);
  return lora;
}

std::vector<std::string> Modules(const AdapterSpec& adapter) {
  std::vector<std::string> modules;
  for (const AdapterTarget& target : adapter.targets) modules.push_back(target.module);
  return modules;
}

std::vector<std::string> ModulesOf(const std::vector<std::string>& names, bool tied = true) {
  const auto adapter = ResolveAdapter(Lora(names), Model(tied));
  EXPECT_TRUE(adapter.ok()) << adapter.status();
  return adapter.ok() ? Modules(*adapter) : std::vector<std::string>();
}

std::string ErrorOf(const std::vector<std::string>& names) {
  const absl::Status status = ResolveAdapter(Lora(names), Model()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(ResolveAdapterTest, AdaptsEveryLinearLayerOfTheBlocksByDefault) {
  const AdapterSpec adapter = *ResolveAdapter(Lora({}), Model());
  EXPECT_THAT(adapter.target_modules, ElementsAre("q_proj", "k_proj", "v_proj", "o_proj",
                                                  "gate_proj", "up_proj", "down_proj"));
  ASSERT_EQ(adapter.targets.size(), 14u);
  EXPECT_EQ(adapter.targets[1].module, "model.layers.0.self_attn.k_proj");
  EXPECT_EQ(adapter.targets[1].in, 8);
  EXPECT_EQ(adapter.targets[1].out, 4);
  EXPECT_EQ(adapter.targets[13].module, "model.layers.1.mlp.down_proj");
  EXPECT_EQ(adapter.targets[13].in, 16);
  EXPECT_EQ(adapter.targets[13].out, 8);
  EXPECT_EQ(adapter.targets[13].layer, 1);
}

TEST(ResolveAdapterTest, MatchesLastPartsOfNames) {
  EXPECT_THAT(ModulesOf({"q_proj"}),
              ElementsAre("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"));
  EXPECT_THAT(ModulesOf({"mlp.down_proj"}),
              ElementsAre("model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj"));
  EXPECT_THAT(ModulesOf({"model.layers.1.self_attn.q_proj"}),
              ElementsAre("model.layers.1.self_attn.q_proj"));
  EXPECT_THAT(ModulesOf({"1.mlp.up_proj", "1.mlp.up_proj"}),
              ElementsAre("model.layers.1.mlp.up_proj"));
  EXPECT_THAT(ModulesOf({"v_proj", "0.self_attn.q_proj"}),
              ElementsAre("model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj",
                          "model.layers.1.self_attn.v_proj"))
      << "in the order of the model";
  EXPECT_THAT(ModulesOf({"lm_head", "embed_tokens"}, /*tied=*/false),
              ElementsAre("model.embed_tokens", "lm_head"));
}

TEST(ResolveAdapterTest, ExpandsPatterns) {
  EXPECT_THAT(ModulesOf({"layers.1.self_attn.*"}),
              ElementsAre("model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.k_proj",
                          "model.layers.1.self_attn.v_proj", "model.layers.1.self_attn.o_proj"));
  EXPECT_EQ(ModulesOf({"*"}, /*tied=*/false).size(), 16u);
  EXPECT_EQ(ModulesOf({"*_proj"}), ModulesOf({}));
  // PEFT knows no patterns, so the file gets names: a last part only where it stands for the same.
  EXPECT_THAT(ResolveAdapter(Lora({"*.0.mlp.*", "q_*"}), Model())->target_modules,
              ElementsAre("q_proj", "model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj",
                          "model.layers.0.mlp.down_proj"));
  EXPECT_THAT(ResolveAdapter(Lora({"mlp.down_proj", "k_proj"}), Model())->target_modules,
              ElementsAre("mlp.down_proj", "k_proj"))
      << "names stay as they were given";
}

TEST(ResolveAdapterTest, GivesTiedEmbeddingAndHeadTargetsOfTheirOwn) {
  const AdapterSpec adapter = *ResolveAdapter(Lora({"embed_tokens", "lm_head"}), Model());
  ASSERT_EQ(adapter.targets.size(), 2u);
  EXPECT_EQ(adapter.targets[0].role, WeightRole::kEmbedding);
  EXPECT_EQ(adapter.targets[0].in, 259);
  EXPECT_EQ(adapter.targets[0].out, 8);
  EXPECT_EQ(adapter.targets[1].role, WeightRole::kHead);
  EXPECT_EQ(adapter.targets[1].in, 8);
  EXPECT_EQ(adapter.targets[1].out, 259);
  EXPECT_TRUE(MergeUnties(adapter, /*is_tied=*/true));
  EXPECT_FALSE(MergeUnties(adapter, /*is_tied=*/false));
  EXPECT_FALSE(MergeUnties(*ResolveAdapter(Lora({}), Model()), /*is_tied=*/true));
}

TEST(ResolveAdapterTest, ExplainsANameWithoutALayer) {
  EXPECT_EQ(ErrorOf({"v_proj", "q_prj"}),
            "lora.target_modules[1]: \"q_prj\" matches no layer that can have an adapter; did you "
            "mean \"q_proj\"? The model has embed_tokens, q_proj, k_proj, v_proj, o_proj, "
            "gate_proj, up_proj, down_proj, lm_head, and layers 0 to 1");
  EXPECT_THAT(ErrorOf({"self_attn"}),
              HasSubstr("write self_attn.* for the layers in it; the model"));
  EXPECT_THAT(ErrorOf({"q_proj.weight"}), HasSubstr("write it without .weight"));
  EXPECT_THAT(ErrorOf({"attn.q_proj"}), HasSubstr("did you mean \"q_proj\"?"));
  EXPECT_THAT(ErrorOf({"selfattn.q_proj"}), HasSubstr("did you mean \"self_attn.q_proj\"?"));
  EXPECT_THAT(ErrorOf({"model.layers.7.mlp.up_proj"}), HasSubstr("layers 0 to 1"));
  // Part of a name is not its last part.
  for (const char* name : {"proj", "", "input_layernorm", "model", "query_key_value", "Q_PROJ"})
    EXPECT_THAT(ErrorOf({name}), HasSubstr("matches no layer")) << name;
}

TEST(AdapterSpecTest, ScalesByRankOrItsRoot) {
  AdapterSpec adapter{.rank = 16, .alpha = 8.0};
  EXPECT_EQ(adapter.scale(), 0.5);
  adapter.rslora = true;
  EXPECT_EQ(adapter.scale(), 2.0);
}

TEST(AdapterWeightsTest, KeepsMatricesThatAreMultipliedTogetherAdjacent) {
  std::vector<std::string> names;  // without base_model.model.model.
  for (const WeightSpec& spec :
       AdapterWeights(*ResolveAdapter(Lora({"0.*_proj", "embed_tokens"}), Model()))) {
    names.push_back(spec.name.substr(23) + " " + ShapeText(spec.shape));
  }
  EXPECT_THAT(names, ElementsAre("embed_tokens.lora_embedding_A [4, 259]",
                                 "embed_tokens.lora_embedding_B [8, 4]",
                                 "layers.0.self_attn.q_proj.lora_A.weight [4, 8]",
                                 "layers.0.self_attn.k_proj.lora_A.weight [4, 8]",
                                 "layers.0.self_attn.v_proj.lora_A.weight [4, 8]",
                                 "layers.0.self_attn.q_proj.lora_B.weight [8, 4]",
                                 "layers.0.self_attn.k_proj.lora_B.weight [4, 4]",
                                 "layers.0.self_attn.v_proj.lora_B.weight [4, 4]",
                                 "layers.0.self_attn.o_proj.lora_A.weight [4, 8]",
                                 "layers.0.self_attn.o_proj.lora_B.weight [8, 4]",
                                 "layers.0.mlp.gate_proj.lora_A.weight [4, 8]",
                                 "layers.0.mlp.up_proj.lora_A.weight [4, 8]",
                                 "layers.0.mlp.gate_proj.lora_B.weight [16, 4]",
                                 "layers.0.mlp.up_proj.lora_B.weight [16, 4]",
                                 "layers.0.mlp.down_proj.lora_A.weight [4, 16]",
                                 "layers.0.mlp.down_proj.lora_B.weight [8, 4]"));
}

}  // namespace
}  // namespace trainerd::engine
