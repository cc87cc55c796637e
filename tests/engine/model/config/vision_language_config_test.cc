// SPDX-License-Identifier: Apache-2.0
// config.json of vision-language models, nested and flat. Expectations are read off the
// configuration classes of transformers 5.23.0.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/model/config/model_config.h"

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

Json Text() {
  return {{"vocab_size", 100},      {"hidden_size", 32},        {"intermediate_size", 64},
          {"num_hidden_layers", 2}, {"num_attention_heads", 4}, {"num_key_value_heads", 2},
          {"hidden_act", "silu"}};
}

Json Qwen3Vl() {
  return {{"model_type", "qwen3_vl"},
          {"architectures", {"Qwen3VLForConditionalGeneration"}},
          {"vision_config", {{"depth", 2}, {"hidden_size", 7}}},
          {"text_config", Text()}};
}

Json Qwen25Vl() {
  Json json = Text();
  json.update({{"model_type", "qwen2_5_vl"},
               {"architectures", {"Qwen2_5_VLForConditionalGeneration"}},
               {"vision_config", {{"depth", 2}, {"hidden_size", 7}}}});
  return json;
}

ModelConfig Parse(const Json& json) {
  const auto config = ParseModelConfig(json.dump(), "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : ModelConfig{};
}

std::string ErrorOf(const Json& json) {
  const auto config = ParseModelConfig(json.dump(), "some/config.json");
  EXPECT_FALSE(config.ok());
  return std::string(config.status().message());
}

TEST(VisionLanguageConfigTest, ReadsTheTextConfig) {
  Json json = Qwen3Vl();
  json["text_config"].update(
      {{"rope_theta", 5e6},
       {"rope_scaling",
        {{"mrope_interleaved", true}, {"mrope_section", {24, 20, 20}}, {"rope_type", "default"}}}});
  const ModelConfig config = Parse(json);
  EXPECT_EQ(config.hidden_size, 32);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.max_position_embeddings, 128000);
  EXPECT_EQ(config.block.qk_norm, QkNorm::kPerHead);
  EXPECT_FALSE(config.block.qkv_bias);
  EXPECT_EQ(config.block.layers[1].rope->theta, 5e6);
  EXPECT_EQ(std::string(config.names.decoder), "model.language_model");
}

TEST(VisionLanguageConfigTest, ReadsFlatFilesOfQwen25) {
  Json json = Qwen25Vl();
  json.update({{"rope_scaling", {{"type", "mrope"}, {"mrope_section", {16, 24, 24}}}}});
  const ModelConfig config = Parse(json);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.rms_norm_eps, 1e-5);
  EXPECT_TRUE(config.block.qkv_bias);
  EXPECT_EQ(config.block.qk_norm, QkNorm::kNone);
  EXPECT_EQ(config.block.layers[0].rope->theta, 1e6);
  EXPECT_EQ(config.block.layers[0].window, 0);
}

TEST(VisionLanguageConfigTest, HeadIsTiedAsInTransformers) {
  for (const bool outer : {false, true}) {
    for (const bool inner : {false, true}) {
      Json three = Qwen3Vl(), two = Qwen25Vl();
      two["text_config"] = Text();
      for (Json* json : {&three, &two}) {
        (*json)["tie_word_embeddings"] = outer;
        (*json)["text_config"]["tie_word_embeddings"] = inner;
      }
      EXPECT_EQ(Parse(three).tie_word_embeddings, outer);
      EXPECT_EQ(Parse(two).tie_word_embeddings, outer || inner);
      const auto untied = UntiedModelConfig(two.dump());
      ASSERT_TRUE(untied.ok());
      EXPECT_FALSE(Parse(Json::parse(*untied)).tie_word_embeddings);
    }
  }
  Json flat = Qwen25Vl();
  flat["tie_word_embeddings"] = true;
  EXPECT_TRUE(Parse(flat).tie_word_embeddings);
}

TEST(VisionLanguageConfigTest, WindowBeginsAtItsOwnDefault) {
  Json json = Qwen25Vl();
  json.update({{"use_sliding_window", true}, {"sliding_window", 16}, {"num_hidden_layers", 82}});
  EXPECT_EQ(Parse(json).block.layers[79].window, 0);
  EXPECT_EQ(Parse(json).block.layers[80].window, 16);
}

TEST(VisionLanguageConfigTest, ErrorsNameTheKey) {
  Json text_only = Text();
  text_only.update({{"model_type", "qwen2"},
                    {"rope_scaling", {{"type", "mrope"}, {"mrope_section", {16, 24, 24}}}}});
  EXPECT_THAT(ErrorOf(text_only), HasSubstr("\"mrope\""));
  Json quantized = Qwen3Vl();
  quantized["text_config"]["quantization_config"] = {{"quant_method", "fp8"}};
  EXPECT_THAT(ErrorOf(quantized), HasSubstr("the weights are quantized"));
  Json wrong = Qwen3Vl();
  wrong["text_config"].erase("hidden_size");
  EXPECT_THAT(ErrorOf(wrong), HasSubstr("\"hidden_size\" is missing"));
  Json yarn = Qwen3Vl();
  yarn["text_config"]["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4.0}};
  EXPECT_THAT(ErrorOf(yarn), HasSubstr("yarn"));
}

}  // namespace
}  // namespace trainerd::engine
