// SPDX-License-Identifier: Apache-2.0
// Expectations: the keys of LoraConfig of PEFT 0.21 and what they mean there.
// adapter_folder_test.cc reads files that PEFT wrote.
#include "engine/model/adapter/peft_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "nlohmann/json.hpp"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Json = nlohmann::json;

Json Plain() {
  return {{"peft_type", "LORA"}, {"r", 16}, {"lora_alpha", 32}, {"target_modules", {"q_proj"}}};
}

absl::StatusOr<PeftConfig> Parse(const Json& changes) {
  Json json = Plain();
  json.update(changes);
  return ParsePeftConfig(json.dump(), "adapter_config.json");
}

AdapterTarget Target(int64_t layer, const std::string& module) {
  return {.role = WeightRole::kQuery, .layer = layer, .module = module};
}

TEST(PeftConfigTest, ReadsWhatDescribesTheAdapter) {
  const PeftConfig config = *Parse({{"use_rslora", true},
                                    {"lora_alpha", 2.5},
                                    {"base_model_name_or_path", "Qwen/Qwen3-0.6B"},
                                    {"lora_dropout", 0.1},
                                    {"layers_to_transform", {2, 0}}});
  EXPECT_EQ(config.rank, 16);
  EXPECT_EQ(config.alpha, 2.5);
  EXPECT_TRUE(config.rslora);
  EXPECT_EQ(config.base_model, "Qwen/Qwen3-0.6B");
  EXPECT_THAT(config.target_modules, ElementsAre("q_proj"));
  EXPECT_THAT(*config.layers, ElementsAre(2, 0));
  // LoraConfig's own defaults.
  const PeftConfig defaults =
      *ParsePeftConfig(R"({"peft_type": "LORA", "target_modules": ["a"]})", "adapter_config.json");
  EXPECT_EQ(defaults.rank, 8);
  EXPECT_EQ(defaults.alpha, 8.0);
  EXPECT_FALSE(defaults.rslora);
}

TEST(PeftConfigTest, AcceptsUnusedFeatures) {
  EXPECT_TRUE(Parse({{"use_dora", false},
                     {"modules_to_save", nullptr},
                     {"rank_pattern", Json::object()},
                     {"alora_invocation_tokens", nullptr},
                     {"some_feature_of_next_year", false},
                     {"layers_pattern", Json::array()},
                     {"peft_version", "0.30.0"},
                     {"qalora_group_size", 16},
                     {"task_type", nullptr},
                     {"eva_config", {{"rho", 2.0}}},
                     {"init_lora_weights", "gaussian"}})
                  .ok());
}

TEST(PeftConfigTest, RefusesWhatWouldChangeTheResult) {
  const struct {
    Json changes;
    std::string message;
  } cases[] = {
      {{{"use_dora", true}}, "\"use_dora\": true is not supported"},
      {{{"bias", "all"}}, "\"bias\": \"all\" is not supported"},
      {{{"bias", "lora_only"}}, "\"bias\": \"lora_only\""},
      {{{"modules_to_save", {"lm_head"}}}, "\"modules_to_save\": [\"lm_head\"] is not supported"},
      {{{"rank_pattern", {{"q_proj", 4}}}}, "\"rank_pattern\": {\"q_proj\":4} is not supported"},
      {{{"alpha_pattern", {{"q_proj", 4}}}}, "with one rank and one alpha"},
      {{{"fan_in_fan_out", true}}, "\"fan_in_fan_out\": true"},
      {{{"lora_bias", true}}, "\"lora_bias\": true"},
      {{{"layer_replication", {{0, 1}}}}, "\"layer_replication\""},
      {{{"trainable_token_indices", {1, 2}}}, "\"trainable_token_indices\": [1,2]"},
      {{{"target_parameters", {"experts.weight"}}}, "\"target_parameters\""},
      {{{"ensure_weight_tying", true}}, "\"ensure_weight_tying\": true"},
      {{{"some_feature_of_next_year", "on"}}, "\"some_feature_of_next_year\": \"on\""},
      {{{"task_type", "SEQ_CLS"}}, "\"task_type\": \"SEQ_CLS\" is not supported"},
      {{{"init_lora_weights", "pissa_niter_16"}}, "changes the weights of the model"},
      {{{"init_lora_weights", "olora"}}, "\"init_lora_weights\": \"olora\""},
      {{{"layers_pattern", "h"}, {"layers_to_transform", 1}}, "\"layers_pattern\": \"h\""},
      {{{"peft_type", "IA3"}}, "\"peft_type\": \"IA3\" is not supported; only LORA is"},
  };
  for (const auto& [changes, message] : cases) {
    const absl::Status status = Parse(changes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << changes;
    EXPECT_THAT(std::string(status.message()), StartsWith("adapter_config.json: \""));
    EXPECT_THAT(status.message(), HasSubstr(message));
  }
}

TEST(PeftConfigTest, RefusesWrongValues) {
  const Json cases[] = {{{"r", 0}},
                        {{"r", 1.5}},
                        {{"r", "8"}},
                        {{"r", 5000}},
                        {{"lora_alpha", 0}},
                        {{"lora_alpha", "x"}},
                        {{"use_rslora", "yes"}},
                        {{"target_modules", Json::array()}},
                        {{"target_modules", 3}},
                        {{"target_modules", {"q_proj", 3}}},
                        {{"target_modules", nullptr}},
                        {{"layers_to_transform", {"1"}}},
                        {{"exclude_modules", {1}}}};
  for (const Json& changes : cases) {
    const absl::Status status = Parse(changes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << changes;
    EXPECT_THAT(status.message(), HasSubstr(changes.items().begin().key())) << changes;
  }
  for (const char* text : {"", "[]", "{", "null", "{\"r\": 8,}"})
    EXPECT_FALSE(ParsePeftConfig(text, "adapter_config.json").ok()) << text;
}

TEST(PeftConfigTest, ChoosesLayersAsPeftDoes) {
  const auto chooses = [](const Json& changes, int64_t layer, const std::string& module) {
    return Chooses(*Parse(changes), Target(layer, module));
  };
  const std::string query = "model.layers.3.self_attn.q_proj";
  EXPECT_TRUE(chooses(Json::object(), 3, query));
  EXPECT_FALSE(chooses({{"target_modules", {"proj"}}}, 3, query));
  EXPECT_TRUE(chooses({{"target_modules", {"3.self_attn.q_proj"}}}, 3, query));
  EXPECT_FALSE(chooses({{"layers_to_transform", {1, 2}}}, 3, query));
  EXPECT_TRUE(chooses({{"layers_to_transform", 3}}, 3, query));
  EXPECT_TRUE(chooses({{"layers_to_transform", Json::array()}}, 3, query));
  // A whole name is chosen in any case, unless it is excluded.
  EXPECT_TRUE(chooses({{"target_modules", {query}}, {"layers_to_transform", 1}}, 3, query));
  EXPECT_FALSE(chooses({{"target_modules", {query}}, {"exclude_modules", {"q_proj"}}}, 3, query));
  EXPECT_TRUE(chooses({{"target_modules", "All-Linear"}}, 3, query));
  EXPECT_FALSE(chooses({{"target_modules", "all-linear"}}, -1, "lm_head"));
  EXPECT_EQ(Parse({{"target_modules", R"(.*\.q_proj)"}})->choice, PeftConfig::Choice::kTensors);
  EXPECT_EQ(Parse({{"exclude_modules", R"(.*\.q_proj)"}})->choice, PeftConfig::Choice::kTensors);
}

TEST(PeftConfigTest, WritesWhatItReads) {
  const AdapterSpec adapter{.rank = 4,
                            .alpha = 6.5,
                            .dropout = 0.1,
                            .rslora = true,
                            .target_modules = {"q_proj", "model.layers.1.mlp.up_proj"}};
  const std::string text = PeftConfigJson(adapter, "/models/base\xff");
  const PeftConfig config = *ParsePeftConfig(text, "adapter_config.json");
  EXPECT_EQ(config.rank, 4);
  EXPECT_EQ(config.alpha, 6.5);
  EXPECT_TRUE(config.rslora);
  EXPECT_EQ(config.target_modules, adapter.target_modules);
  EXPECT_EQ(config.base_model.substr(0, 12), "/models/base");
  EXPECT_EQ(Json::parse(text)["lora_dropout"], 0.1);
  EXPECT_THAT(PeftConfigJson({.rank = 8, .alpha = 16.0}, ""), HasSubstr("\"lora_alpha\": 16,"));
}

}  // namespace
}  // namespace trainerd::engine
