// SPDX-License-Identifier: Apache-2.0
// config.json in the spellings of transformers 4 and 5, and the messages for values that are wrong
// or not supported. Expectations are read off the configuration classes of transformers 5.23.0.
#include "engine/model/config/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/model/families/families.h"
#include "engine/model/folder/weight_spec.h"
#include "tests/paths.h"

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

int64_t Window(const Json& json, size_t layer) { return Parse(json).block.layers[layer].window; }

void ExpectError(const Json& json, absl::StatusCode code,
                 std::initializer_list<const char*> parts) {
  const auto config = ParseModelConfig(json.dump(), "some/config.json");
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(config.status().code(), code);
  EXPECT_THAT(std::string(config.status().message()), HasSubstr("some/config.json"));
  for (const char* part : parts)
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(part));
}

TEST(ModelConfigTest, ReadsBothSpellingsOfRopeAndDtype) {
  Json four = Llama(), five = Llama();
  four.update({{"rope_theta", 5e5}, {"torch_dtype", "bfloat16"}});
  five.update({{"rope_parameters", {{"rope_theta", 5e5}, {"rope_type", "default"}}},
               {"dtype", "bfloat16"}});
  for (const Json& json : {four, five}) {
    const ModelConfig config = Parse(json);
    EXPECT_EQ(config.block.layers[0].rope->theta, 5e5);
    EXPECT_EQ(config.dtype, "bfloat16");
    EXPECT_EQ(config.head_dim, 8);
  }
}

TEST(ModelConfigTest, ReadsBothSpellingsOfLlama3Scaling) {
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
    const RopeSpec& rope = *config.block.layers[1].rope;
    ASSERT_TRUE(rope.llama3.has_value());
    EXPECT_EQ(rope.llama3->factor, 32.0);
    EXPECT_EQ(rope.llama3->original_max_position_embeddings, 8192);
    EXPECT_EQ(config.block.layers[0].rope->theta, 5e5);
  }
}

TEST(ModelConfigTest, FamiliesDiffer) {
  EXPECT_EQ(Parse(Qwen3()).head_dim, 128);
  EXPECT_EQ(Parse(Qwen3()).block.qk_norm, QkNorm::kPerHead);
  EXPECT_FALSE(Parse(Qwen3()).block.qkv_bias);
  const BlockSpec qwen2 = Parse(Base("qwen2", "Qwen2ForCausalLM")).block;
  EXPECT_TRUE(qwen2.qkv_bias);
  EXPECT_FALSE(qwen2.output_bias);
  Json biased = Llama();
  biased.update({{"attention_bias", true}, {"mlp_bias", true}});
  const BlockSpec llama = Parse(biased).block;
  EXPECT_TRUE(llama.qkv_bias && llama.output_bias && llama.mlp_bias);
}

TEST(ModelConfigTest, Olmo2NormsBranchesAndAllHeads) {
  const ModelConfig config = Parse(Base("olmo2", "Olmo2ForCausalLM"));
  EXPECT_EQ(config.block.norm_placement, NormPlacement::kPost);
  EXPECT_EQ(config.block.qk_norm, QkNorm::kAllHeads);
  EXPECT_EQ(config.rms_norm_eps, 1e-5);
  std::vector<std::string> norms;
  for (const WeightSpec& spec : WeightsOf(config)) {
    if (spec.layer == 0 && spec.shape.size() == 1) norms.push_back(spec.name);
  }
  EXPECT_THAT(norms, ::testing::ElementsAre("model.layers.0.self_attn.q_norm.weight",
                                            "model.layers.0.self_attn.k_norm.weight",
                                            "model.layers.0.post_attention_layernorm.weight",
                                            "model.layers.0.post_feedforward_layernorm.weight"));
}

TEST(ModelConfigTest, SmolLm3DropsRopeFromSomeLayers) {
  Json json = Base("smollm3", "SmolLM3ForCausalLM");
  json["num_hidden_layers"] = 5;
  const auto ropes = [&] {
    std::vector<bool> has_rope;
    for (const LayerSpec& layer : Parse(json).block.layers)
      has_rope.push_back(layer.rope.has_value());
    return has_rope;
  };
  EXPECT_EQ(ropes(), (std::vector<bool>{true, true, true, false, true}));
  EXPECT_EQ(Parse(json).block.layers[0].rope->theta, 2e6);
  EXPECT_TRUE(Parse(json).tie_word_embeddings);
  json["no_rope_layer_interval"] = 2;
  EXPECT_EQ(ropes(), (std::vector<bool>{true, false, true, false, true}));
  json["no_rope_layers"] = {0, 1, 1, 1, 0};
  EXPECT_EQ(ropes(), (std::vector<bool>{false, true, true, true, false}));
  json.update({{"use_sliding_window", true}, {"sliding_window", 16}});
  EXPECT_EQ(Window(json, 0), 16);
  EXPECT_EQ(Window(json, 1), 0);
  json["no_rope_layers"] = {0, 1};
  ExpectError(json, absl::StatusCode::kInvalidArgument, {"no_rope_layers", "5"});
}

TEST(ModelConfigTest, GemmaTakesItsOwnDefaults) {
  const ModelConfig two = Parse(Base("gemma2", "Gemma2ForCausalLM"));
  EXPECT_EQ(two.head_dim, 256);
  EXPECT_TRUE(two.tie_word_embeddings);
  EXPECT_EQ(two.block.activation, Activation::kGeluTanh) << "hidden_act is not read";
  EXPECT_EQ(two.block.norm_placement, NormPlacement::kSandwich);
  EXPECT_EQ(two.block.norm_offset, 1.0);
  EXPECT_EQ(two.block.attention_soft_cap, 50.0);
  EXPECT_EQ(two.block.logits_soft_cap, 30.0);
  EXPECT_EQ(two.block.attention_scale, 1.0 / 16.0);
  Json json = Base("gemma2", "Gemma2ForCausalLM");
  json.update({{"attn_logit_softcapping", nullptr}, {"final_logit_softcapping", 7.0}});
  EXPECT_EQ(Parse(json).block.attention_soft_cap, std::nullopt);
  EXPECT_EQ(Parse(json).block.logits_soft_cap, 7.0);
  json["use_bidirectional_attention"] = true;
  ExpectError(json, absl::StatusCode::kUnimplemented, {"use_bidirectional_attention"});
}

TEST(ModelConfigTest, Gemma3RotatesLayersWithAWindowDifferently) {
  Json four = Base("gemma3_text", "Gemma3ForCausalLM"), five = four;
  four.update({{"rope_theta", 5e5},
               {"rope_local_base_freq", 2e4},
               {"rope_scaling", {{"rope_type", "linear"}, {"factor", 8.0}}},
               {"sliding_window_pattern", 2}});
  five.update(
      {{"rope_parameters",
        {{"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 5e5}}},
         {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 2e4}}}}},
       {"layer_types", {"sliding_attention", "full_attention"}}});
  for (const Json& json : {four, five}) {
    const std::vector<LayerSpec> layers = Parse(json).block.layers;
    EXPECT_EQ(layers[0].rope->theta, 2e4);
    EXPECT_EQ(layers[0].rope->factor, 1.0);
    EXPECT_EQ(layers[0].window, 4096);
    EXPECT_EQ(layers[1].rope->theta, 5e5);
    EXPECT_EQ(layers[1].rope->factor, 8.0);
    EXPECT_EQ(layers[1].window, 0);
  }
  const std::vector<LayerSpec> plain = Parse(Base("gemma3_text", "Gemma3ForCausalLM")).block.layers;
  EXPECT_EQ(plain[0].rope->theta, 1e4);
}

TEST(ModelConfigTest, Phi3HasJointMatrices) {
  Json json = Base("phi3", "Phi3ForCausalLM");
  std::vector<std::string> matrices;
  for (const WeightSpec& spec : WeightsOf(Parse(json))) {
    if (spec.layer == 1 && spec.shape.size() == 2) {
      matrices.push_back(spec.name.substr(15) + " " + std::to_string(spec.shape[0]));
    }
  }
  EXPECT_THAT(matrices,
              ::testing::ElementsAre("self_attn.qkv_proj.weight 64", "self_attn.o_proj.weight 32",
                                     "mlp.gate_up_proj.weight 128", "mlp.down_proj.weight 32"));
}

// The spelling of files from before transformers 5; the magnitude is sqrt(1 + ln(32) / ln(4096)).
TEST(ModelConfigTest, ReadsLongRope) {
  Json json = Base("phi3", "Phi3ForCausalLM");
  const Json factors = {1.0, 1.5, 2.0};
  json.update({{"max_position_embeddings", 131072},
               {"original_max_position_embeddings", 4096},
               {"partial_rotary_factor", 0.75},
               {"rope_scaling",
                {{"type", "su"}, {"short_factor", factors}, {"long_factor", {4.0, 5.0, 6.0}}}}});
  const ModelConfig config = Parse(json);
  const RopeSpec& rope = *config.block.layers[1].rope;
  EXPECT_EQ(rope.divisors, (std::vector<double>{1.0, 1.5, 2.0}));
  EXPECT_EQ(rope.rotary_dim, 6);
  EXPECT_NEAR(rope.magnitude, 1.1902380714238083, 1e-12);
  EXPECT_EQ(rope.long_divisors, (std::vector<double>{4.0, 5.0, 6.0}));
  EXPECT_EQ(rope.original_positions, 4096);
  EXPECT_EQ(config.max_position_embeddings, 131072);
  json["rope_scaling"]["long_factor"] = {9.0};
  ExpectError(json, absl::StatusCode::kInvalidArgument, {"long_factor", "1", "3 frequencies"});
  json["rope_scaling"]["long_factor"] = {4.0, 5.0, 6.0};
  json["partial_rotary_factor"] = 0.5;
  ExpectError(json, absl::StatusCode::kInvalidArgument, {"short_factor", "3", "2 frequencies"});
  json["partial_rotary_factor"] = 0.9;
  ExpectError(json, absl::StatusCode::kInvalidArgument, {"partial_rotary_factor", "7 of 8"});
  json["rope_scaling"]["short_factor"] = {1.0, 0.0, 1.0};
  ExpectError(json, absl::StatusCode::kInvalidArgument, {"short_factor", "positive"});
}

TEST(ModelConfigTest, ReadsSlidingWindows) {
  Json mistral = Base("mistral", "MistralForCausalLM");
  EXPECT_EQ(Window(mistral, 0), 4096);
  mistral["sliding_window"] = nullptr;
  EXPECT_EQ(Window(mistral, 0), 0);
  mistral["sliding_window"] = 16;
  EXPECT_EQ(Window(mistral, 1), 16);
  Json qwen2 = Base("qwen2", "Qwen2ForCausalLM");
  qwen2.update({{"sliding_window", 16}, {"use_sliding_window", false}, {"max_window_layers", 1}});
  EXPECT_EQ(Window(qwen2, 1), 0);
  qwen2["use_sliding_window"] = true;
  EXPECT_EQ(Window(qwen2, 0), 0);
  EXPECT_EQ(Window(qwen2, 1), 16);
  qwen2["layer_types"] = {"sliding_attention", "full_attention"};
  EXPECT_EQ(Window(qwen2, 0), 16);
  EXPECT_EQ(Window(qwen2, 1), 0);
}

// tests/golden/model/windows.json: what the layers of transformers 5.23.0 attend to. A window that
// holds the 12 tokens of the golden is none there.
TEST(ModelConfigTest, WindowsEqualTransformers) {
  std::ifstream file(TRAINERD_SOURCE_DIR + "/tests/golden/model/windows.json");
  const Json golden = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  ASSERT_GT(golden["cases"].size(), 180u);
  for (const Json& item : golden["cases"]) {
    const auto config = ParseModelConfig(item["config"].dump(), "config.json");
    ASSERT_EQ(config.ok(), !item.contains("error")) << item.dump() << config.status();
    if (!config.ok()) continue;
    std::vector<int64_t> windows;
    for (const LayerSpec& layer : config->block.layers)
      windows.push_back(layer.window < 12 ? layer.window : 0);
    EXPECT_EQ(windows, item["windows"].get<std::vector<int64_t>>()) << item.dump();
  }
}

TEST(ModelConfigTest, AppliesDefaultsOnlyToAbsentKeys) {
  Json mistral = Base("mistral", "MistralForCausalLM");
  mistral["num_attention_heads"] = 16;
  mistral.erase("num_key_value_heads");
  EXPECT_EQ(Parse(mistral).num_kv_heads, 8);
  EXPECT_EQ(Parse(mistral).max_position_embeddings, 131072);
  mistral["num_key_value_heads"] = nullptr;
  EXPECT_EQ(Parse(mistral).num_kv_heads, 16);
  Json llama = Llama();
  llama.erase("num_key_value_heads");
  EXPECT_EQ(Parse(llama).num_kv_heads, 4);
}

TEST(ModelConfigTest, NamesTheQuantizationOfAFolder) {
  Json json = Qwen3();
  json["quantization_config"] = {{"quant_method", "gptq"}, {"bits", 4}};
  ExpectError(json, absl::StatusCode::kUnimplemented,
              {"quantized", "quantization_config: gptq", "full-precision", "set model.path"});
  json = Llama();
  json["quantization"] = {{"group_size", 64}, {"bits", 4}};
  ExpectError(json, absl::StatusCode::kUnimplemented, {"quantized (quantization)"});
  json = Llama();
  json["quantization_config"] = nullptr;
  EXPECT_EQ(Parse(json).num_layers, 2);
}

TEST(ModelConfigTest, NamesUnsupportedValuesAndTheSupportedOnes) {
  ExpectError(Base("gpt2", "GPT2LMHeadModel"), absl::StatusCode::kUnimplemented,
              {"gpt2", "llama", "mistral", "olmo2", "qwen2", "qwen3", "smollm3"});
  ExpectError(Base("qwen3", "Qwen3ForSequenceClassification"), absl::StatusCode::kUnimplemented,
              {"Qwen3ForSequenceClassification"});
  Json yarn = Qwen3();
  yarn["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4.0}};
  ExpectError(yarn, absl::StatusCode::kUnimplemented, {"yarn", "default, linear, llama3"});
  Json gelu = Llama();
  gelu["hidden_act"] = "gelu";
  ExpectError(gelu, absl::StatusCode::kUnimplemented, {"\"gelu\"", "silu"});
}

TEST(ModelConfigTest, ErrorsNameKeyAndValue) {
  Json json = Llama();
  json.erase("vocab_size");
  ExpectError(json, absl::StatusCode::kInvalidArgument, {"vocab_size", "missing"});
  json = Llama();
  json["num_hidden_layers"] = "two";
  ExpectError(json, absl::StatusCode::kInvalidArgument, {"num_hidden_layers", "\"two\""});
  json = Llama();
  json["num_hidden_layers"] = -1;
  ExpectError(json, absl::StatusCode::kInvalidArgument, {"num_hidden_layers", "-1"});
  json = Llama();
  json["num_key_value_heads"] = 3;
  ExpectError(json, absl::StatusCode::kInvalidArgument, {"num_key_value_heads", "divide"});
  json = Llama();
  json["rms_norm_eps"] = 0;
  ExpectError(json, absl::StatusCode::kInvalidArgument, {"rms_norm_eps"});
  json = Llama();
  json["model_type"] = 3;
  ExpectError(json, absl::StatusCode::kInvalidArgument, {"model_type"});
  EXPECT_FALSE(ParseModelConfig("[1]", "x").ok());
  EXPECT_FALSE(ParseModelConfig("{", "x").ok());
  EXPECT_EQ(ReadModelConfig("/nonexistent").status().code(), absl::StatusCode::kNotFound);
}

int64_t Parameters(const ModelConfig& config) {
  int64_t total = 0;
  for (const WeightSpec& spec : WeightsOf(config)) {
    int64_t count = 1;
    for (int64_t dimension : spec.shape) count *= dimension;
    total += count;
  }
  return total;
}

// An odd number (engine/formats/json.h) is an error only in a key that is read.
TEST(ModelConfigTest, ReadsOddNumbersInUnusedKeys) {
  const auto with = [](const char* entry) {
    std::string text = Llama().dump();
    return ParseModelConfig(text.insert(1, entry), "config.json").status();
  };
  EXPECT_TRUE(with(R"("x": [NaN, -Infinity, 1e999, 100000000000000000000000],)").ok());
  const std::string eps(with(R"("rms_norm_eps": NaN,)").message());
  EXPECT_THAT(eps, HasSubstr("\"rms_norm_eps\" is NaN; it must be a number above 0"));
  const std::string positions(with(R"("max_position_embeddings": 1e999,)").message());
  EXPECT_THAT(positions, HasSubstr("\"max_position_embeddings\" is Infinity; it must be"));
  EXPECT_THAT(std::string(with("\n x").message()),
              HasSubstr("config.json: line 2, column 2: syntax error"));
}

TEST(WeightSpecTest, KnownModelsHaveTheirPublishedSize) {
  // SmolLM2-135M has 134,515,008 parameters, Qwen3-0.6B 596,049,920 (model cards).
  Json smollm2 = Llama();
  smollm2.update({{"vocab_size", 49152},
                  {"hidden_size", 576},
                  {"intermediate_size", 1536},
                  {"num_hidden_layers", 30},
                  {"num_attention_heads", 9},
                  {"num_key_value_heads", 3},
                  {"tie_word_embeddings", true}});
  EXPECT_EQ(Parameters(Parse(smollm2)), 134515008);
  Json qwen3 = Qwen3();
  qwen3.update({{"vocab_size", 151936},
                {"hidden_size", 1024},
                {"intermediate_size", 3072},
                {"num_hidden_layers", 28},
                {"num_attention_heads", 16},
                {"num_key_value_heads", 8},
                {"tie_word_embeddings", true}});
  EXPECT_EQ(Parameters(Parse(qwen3)), 596049920);
}

}  // namespace
}  // namespace trainerd::engine
