// SPDX-License-Identifier: Apache-2.0
// config.json in the spellings of transformers 4 and 5, and the messages for what is wrong or not
// supported.
#include "engine/model/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/model/families/families.h"

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

Json Base(const char* model_type, const char* architecture) {
  return {{"model_type", model_type}, {"architectures", {architecture}}, {"vocab_size", 100},
          {"hidden_size", 32},        {"intermediate_size", 64},         {"num_hidden_layers", 2},
          {"num_attention_heads", 4}, {"num_key_value_heads", 2},        {"hidden_act", "silu"}};
}
Json Llama() { return Base("llama", "LlamaForCausalLM"); }
Json Qwen3() { return Base("qwen3", "Qwen3ForCausalLM"); }

ModelConfig Parse(const Json& json) {
  const auto config = ParseModelConfig(json.dump(), "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : ModelConfig{};
}

void ExpectFault(const Json& json, absl::StatusCode code,
                 std::initializer_list<const char*> parts) {
  const auto config = ParseModelConfig(json.dump(), "some/config.json");
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(config.status().code(), code);
  EXPECT_THAT(std::string(config.status().message()), HasSubstr("some/config.json"));
  for (const char* part : parts)
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(part));
}

TEST(ModelConfigTest, BothSpellingsOfRopeAndDtype) {
  Json four = Llama(), five = Llama();
  four.update({{"rope_theta", 5e5}, {"torch_dtype", "bfloat16"}});
  five.update({{"rope_parameters", {{"rope_theta", 5e5}, {"rope_type", "default"}}},
               {"dtype", "bfloat16"}});
  for (const Json& json : {four, five}) {
    const ModelConfig config = Parse(json);
    EXPECT_EQ(config.rope_theta, 5e5);
    EXPECT_EQ(config.dtype, "bfloat16");
    EXPECT_EQ(config.head_dim, 8);
  }
}

TEST(ModelConfigTest, Llama3ScalingInBothSpellings) {
  const Json scaling = {{"factor", 32.0},
                        {"low_freq_factor", 1.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 8192},
                        {"rope_type", "llama3"}};
  Json four = Llama(), five = Llama();
  four.update({{"rope_theta", 5e5}, {"rope_scaling", scaling}});
  Json parameters = scaling;
  parameters["rope_theta"] = 5e5;
  five["rope_parameters"] = parameters;
  for (const Json& json : {four, five}) {
    const ModelConfig config = Parse(json);
    ASSERT_TRUE(config.llama3_rope.has_value());
    EXPECT_EQ(config.llama3_rope->factor, 32.0);
    EXPECT_EQ(config.llama3_rope->original_max_position_embeddings, 8192);
    EXPECT_EQ(config.rope_theta, 5e5);
  }
}

TEST(ModelConfigTest, FamiliesDiffer) {
  EXPECT_EQ(Parse(Qwen3()).head_dim, 128);
  EXPECT_TRUE(Parse(Qwen3()).qk_norm);
  EXPECT_FALSE(Parse(Qwen3()).qkv_bias);
  const ModelConfig qwen2 = Parse(Base("qwen2", "Qwen2ForCausalLM"));
  EXPECT_TRUE(qwen2.qkv_bias);
  EXPECT_FALSE(qwen2.output_bias);
  Json biased = Llama();
  biased.update({{"attention_bias", true}, {"mlp_bias", true}});
  EXPECT_TRUE(Parse(biased).qkv_bias && Parse(biased).output_bias && Parse(biased).mlp_bias);
}

TEST(ModelConfigTest, SlidingWindows) {
  Json mistral = Base("mistral", "MistralForCausalLM");
  EXPECT_EQ(Parse(mistral).WindowOf(0), 0);
  mistral["sliding_window"] = 16;
  EXPECT_EQ(Parse(mistral).WindowOf(1), 16);
  Json qwen2 = Base("qwen2", "Qwen2ForCausalLM");
  qwen2.update({{"sliding_window", 16}, {"use_sliding_window", false}, {"max_window_layers", 1}});
  EXPECT_EQ(Parse(qwen2).WindowOf(1), 0);
  qwen2["use_sliding_window"] = true;
  EXPECT_EQ(Parse(qwen2).WindowOf(0), 0);
  EXPECT_EQ(Parse(qwen2).WindowOf(1), 16);
  qwen2["layer_types"] = {"sliding_attention", "full_attention"};
  EXPECT_EQ(Parse(qwen2).WindowOf(0), 16);
  EXPECT_EQ(Parse(qwen2).WindowOf(1), 0);
}

TEST(ModelConfigTest, UnsupportedThingsAreNamedWithWhatIsSupported) {
  ExpectFault(Base("gpt2", "GPT2LMHeadModel"), absl::StatusCode::kUnimplemented,
              {"gpt2", "llama, mistral, qwen2, qwen3"});
  ExpectFault(Base("qwen3", "Qwen3ForSequenceClassification"), absl::StatusCode::kUnimplemented,
              {"Qwen3ForSequenceClassification"});
  Json yarn = Qwen3();
  yarn["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4.0}};
  ExpectFault(yarn, absl::StatusCode::kUnimplemented, {"yarn", "default, linear, llama3"});
  Json gelu = Llama();
  gelu["hidden_act"] = "gelu";
  ExpectFault(gelu, absl::StatusCode::kUnimplemented, {"gelu", "silu"});
}

TEST(ModelConfigTest, FaultsNameKeyAndValue) {
  Json json = Llama();
  json.erase("vocab_size");
  ExpectFault(json, absl::StatusCode::kInvalidArgument, {"vocab_size", "missing"});
  json = Llama();
  json["num_hidden_layers"] = "two";
  ExpectFault(json, absl::StatusCode::kInvalidArgument, {"num_hidden_layers", "\"two\""});
  json = Llama();
  json["num_hidden_layers"] = -1;
  ExpectFault(json, absl::StatusCode::kInvalidArgument, {"num_hidden_layers", "-1"});
  json = Llama();
  json["num_key_value_heads"] = 3;
  ExpectFault(json, absl::StatusCode::kInvalidArgument, {"num_key_value_heads", "divide"});
  json = Llama();
  json["rms_norm_eps"] = 0;
  ExpectFault(json, absl::StatusCode::kInvalidArgument, {"rms_norm_eps"});
  json = Llama();
  json["model_type"] = 3;
  ExpectFault(json, absl::StatusCode::kInvalidArgument, {"model_type"});
  EXPECT_FALSE(ParseModelConfig("[1]", "x").ok());
  EXPECT_FALSE(ParseModelConfig("{", "x").ok());
  EXPECT_EQ(ReadModelConfig("/nonexistent").status().code(), absl::StatusCode::kNotFound);
}

TEST(FamiliesTest, CountsParametersOfKnownModels) {
  // SmolLM2-135M has 134,515,008 parameters, Qwen3-0.6B 596,049,920 (model cards).
  Json smollm2 = Llama();
  smollm2.update({{"vocab_size", 49152},
                  {"hidden_size", 576},
                  {"intermediate_size", 1536},
                  {"num_hidden_layers", 30},
                  {"num_attention_heads", 9},
                  {"num_key_value_heads", 3},
                  {"tie_word_embeddings", true}});
  EXPECT_EQ(CountParameters(Parse(smollm2)), 134515008);
  Json qwen3 = Qwen3();
  qwen3.update({{"vocab_size", 151936},
                {"hidden_size", 1024},
                {"intermediate_size", 3072},
                {"num_hidden_layers", 28},
                {"num_attention_heads", 16},
                {"num_key_value_heads", 8},
                {"tie_word_embeddings", true}});
  EXPECT_EQ(CountParameters(Parse(qwen3)), 596049920);
}

}  // namespace
}  // namespace trainerd::engine
