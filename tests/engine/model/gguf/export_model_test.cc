// SPDX-License-Identifier: Apache-2.0
// Names, types and bytes of exported tensors are those that PyPI gguf makes of the same weights
// (tests/golden/formats/gguf_models.json), for each family.
#include "engine/model/gguf/export_model.h"

#include <gmock/gmock.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "engine/formats/gguf/gguf_file.h"
#include "engine/model/gguf/token_type.h"
#include "proto/base/hash.h"
#include "tests/engine/model/gguf/gguf_folder.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::unique_ptr<GgufFile> Opened(const std::string& path) {
  auto file = GgufFile::Open(path);
  EXPECT_TRUE(file.ok()) << file.status();
  return file.ok() ? *std::move(file) : nullptr;
}

class ExportFamilyTest : public ::testing::TestWithParam<std::string> {};

TEST_P(ExportFamilyTest, WritesNamesAndBytesOfTheReference) {
  const nlohmann::json& golden = GgufModels()[GetParam()];
  const TempDir dir;
  const std::string folder = WriteGoldenFolder(dir, "model", golden, "");
  const GgufType types[] = {GgufType::kF32, GgufType::kBF16, GgufType::kQ8_0};
  for (size_t i = 0; i < 3; ++i) {
    const std::string path = dir / absl::StrCat(i, ".gguf");
    const absl::Status status = WriteGguf(folder, path, {.type = types[i], .name = "tiny"});
    ASSERT_TRUE(status.ok()) << status;
    const auto file = Opened(path);
    ASSERT_NE(file, nullptr);
    EXPECT_EQ(*file->metadata().Text("general.architecture"), golden["architecture"]);
    std::set<std::string> names;
    for (const GgufTensor& tensor : file->tensors()) {
      if (tensor.name.rfind("rope_", 0) == 0) continue;
      names.insert(tensor.name);
      ASSERT_TRUE(golden["tensors"].contains(tensor.name)) << tensor.name;
      const nlohmann::json& expected = golden["tensors"][tensor.name][i];
      EXPECT_EQ(std::string(TraitsOf(tensor.type).name), expected[0]) << tensor.name;
      EXPECT_EQ(ToHex(Sha256(file->Bytes(tensor))).substr(0, 16), expected[1]) << tensor.name;
    }
    EXPECT_EQ(names.size(), golden["tensors"].size());
  }
}

INSTANTIATE_TEST_SUITE_P(Families, ExportFamilyTest, ::testing::ValuesIn(GgufModelNames()));

class ExportModelTest : public ::testing::Test {
 protected:
  // The exported model with changes of config.json, as F32.
  absl::StatusOr<std::unique_ptr<GgufFile>> Export(const std::string& model,
                                                   const nlohmann::json& changes = {},
                                                   const std::string& tokenizer = "") {
    nlohmann::json golden = GgufModels()[model];
    if (changes.is_object()) golden["config"].update(changes);
    const std::string name = absl::StrCat("model", ++count_);
    const std::string folder = WriteGoldenFolder(dir_, name, golden, tokenizer);
    const std::string path = folder + ".gguf";
    const absl::Status status = WriteGguf(folder, path, {.type = GgufType::kF32, .name = "tiny"});
    if (!status.ok()) return status;
    return GgufFile::Open(path);
  }
  std::string Refusal(const std::string& model, const nlohmann::json& changes,
                      const std::string& tokenizer = "") {
    const auto file = Export(model, changes, tokenizer);
    return std::string(file.status().message());
  }
  TempDir dir_;
  int count_ = 0;
};

TEST_F(ExportModelTest, DescribesTheModel) {
  const auto file = Export("granite");
  ASSERT_TRUE(file.ok()) << file.status();
  const GgufMetadata& metadata = (*file)->metadata();
  EXPECT_EQ(*metadata.Text("general.name"), "tiny");
  EXPECT_EQ(*metadata.Count("general.file_type"), 0);
  EXPECT_EQ(*metadata.Count("granite.block_count"), 2);
  EXPECT_EQ(*metadata.Count("granite.context_length"), 256);
  EXPECT_EQ(*metadata.Count("granite.embedding_length"), 32);
  EXPECT_EQ(*metadata.Count("granite.feed_forward_length"), 48);
  EXPECT_EQ(*metadata.Count("granite.attention.head_count"), 4);
  EXPECT_EQ(*metadata.Count("granite.attention.head_count_kv"), 2);
  EXPECT_EQ(*metadata.Count("granite.rope.dimension_count"), 8);
  EXPECT_FLOAT_EQ(static_cast<float>(*metadata.Number("granite.attention.scale")), 0.3F);
  EXPECT_FLOAT_EQ(static_cast<float>(*metadata.Number("granite.embedding_scale")), 3.0F);
  EXPECT_FLOAT_EQ(static_cast<float>(*metadata.Number("granite.residual_scale")), 0.6F);
  EXPECT_FLOAT_EQ(static_cast<float>(*metadata.Number("granite.logit_scale")), 2.0F);
}

TEST_F(ExportModelTest, DescribesRope) {
  const auto llama = Export("llama3_rope_bias");
  ASSERT_TRUE(llama.ok()) << llama.status();
  EXPECT_THAT((*llama)->Find("rope_freqs.weight")->shape, ElementsAre(4));
  const auto phi = Export("phi4_mini");
  ASSERT_TRUE(phi.ok()) << phi.status();
  EXPECT_EQ(*(*phi)->metadata().Count("phi3.rope.dimension_count"), 12);
  std::vector<float> factors(6);
  const GgufTensor* tensor = (*phi)->Find("rope_factors_long.weight");
  ASSERT_NE(tensor, nullptr);
  Dequantize(tensor->type, (*phi)->Bytes(*tensor), absl::MakeSpan(factors));
  EXPECT_THAT(factors, ElementsAre(1, 2, 4, 8, 16, 32));
  const auto gemma = Export("gemma3");
  ASSERT_TRUE(gemma.ok()) << gemma.status();
  const GgufMetadata& metadata = (*gemma)->metadata();
  EXPECT_EQ(*metadata.Number("gemma3.rope.freq_base"), 1'000'000.0);
  EXPECT_EQ(*metadata.Number("gemma3.rope.freq_base_swa"), 10'000.0);
  EXPECT_EQ(*metadata.Text("gemma3.rope.scaling.type"), "linear");
  EXPECT_EQ(*metadata.Number("gemma3.rope.scaling.factor"), 8.0);
  EXPECT_EQ(*metadata.Count("gemma3.attention.sliding_window"), 9);
  EXPECT_EQ(*metadata.Count("gemma3.attention.sliding_window_pattern"), 3);
}

TEST_F(ExportModelTest, DescribesPositionsOfImages) {
  const auto qwen3 = Export("qwen3_vl"), qwen2 = Export("qwen2_5_vl");
  ASSERT_TRUE(qwen3.ok() && qwen2.ok()) << qwen3.status() << qwen2.status();
  EXPECT_THAT(*(*qwen3)->metadata().Integers("qwen3vl.rope.dimension_sections"),
              ElementsAre(4, 2, 2, 0));
  EXPECT_EQ(*(*qwen3)->metadata().Count("qwen3vl.n_deepstack_layers"), 1);
  EXPECT_THAT(*(*qwen2)->metadata().Integers("qwen2vl.rope.dimension_sections"),
              ElementsAre(1, 1, 2, 0));
}

TEST_F(ExportModelTest, DescribesExperts) {
  const auto file = Export("qwen3_moe");
  ASSERT_TRUE(file.ok()) << file.status();
  const GgufMetadata& metadata = (*file)->metadata();
  EXPECT_EQ(*metadata.Count("qwen3moe.expert_count"), 5);
  EXPECT_EQ(*metadata.Count("qwen3moe.expert_used_count"), 2);
  EXPECT_EQ(*metadata.Count("qwen3moe.expert_feed_forward_length"), 24);
  EXPECT_THAT((*file)->Find("blk.1.ffn_down_exps.weight")->shape, ElementsAre(5, 32, 24));
}

TEST_F(ExportModelTest, CutsContextToTheWindow) {
  const auto file = Export("mistral_sliding");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(*(*file)->metadata().Count("llama.context_length"), 7);
}

TEST_F(ExportModelTest, RefusesWhatLlamaCppDoesNotCompute) {
  EXPECT_THAT(Refusal("gemma2", {{"query_pre_attn_scalar", 24}}),
              HasSubstr("query_pre_attn_scalar 24 is not 16"));
  EXPECT_THAT(Refusal("gemma2", {{"attn_logit_softcapping", nullptr}}), HasSubstr("soft cap"));
  EXPECT_THAT(Refusal("smollm3", {{"no_rope_layer_interval", 2}}), HasSubstr("no_rope_layers"));
  EXPECT_THAT(Refusal("qwen3", {{"attention_bias", true}}), HasSubstr("attention_bias is true"));
  EXPECT_THAT(Refusal("granite", {{"mlp_bias", true}}), HasSubstr("mlp_bias is true"));
  EXPECT_THAT(Refusal("gemma", {{"tie_word_embeddings", false}}), HasSubstr("tie_word_embeddings"));
  EXPECT_THAT(Refusal("qwen3_moe", {{"mlp_only_layers", {1}}}),
              HasSubstr("layer 1 has no experts"));
  EXPECT_THAT(Refusal("qwen3_moe", {{"norm_topk_prob", false}}), HasSubstr("norm_topk_prob"));
  EXPECT_THAT(Refusal("qwen3", {{"rope_parameters",
                                 {{"rope_type", "llama3"},
                                  {"rope_theta", 10000.0},
                                  {"factor", 8.0},
                                  {"low_freq_factor", 1.0},
                                  {"high_freq_factor", 4.0},
                                  {"original_max_position_embeddings", 64}}}}),
              HasSubstr("rope_type llama3"));
  EXPECT_THAT(Refusal("qwen2_5_vl", {{"rope_scaling", {{"type", "mrope"}}}}),
              HasSubstr("\"mrope_section\""));
  EXPECT_THAT(Refusal("gemma2", {{"layer_types", {"full_attention", "sliding_attention"}}}),
              HasSubstr("the windows of the layers"));
}

TEST_F(ExportModelTest, WritesTheTokenizer) {
  const auto file = Export("qwen2", {{"vocab_size", 720}}, "qwen3");
  ASSERT_TRUE(file.ok()) << file.status();
  const GgufMetadata& metadata = (*file)->metadata();
  EXPECT_EQ(*metadata.Text("tokenizer.ggml.model"), "gpt2");
  EXPECT_EQ(*metadata.Text("tokenizer.ggml.pre"), "qwen2");
  const auto tokens = *metadata.Texts("tokenizer.ggml.tokens");
  const auto types = *metadata.Integers("tokenizer.ggml.token_type");
  ASSERT_EQ(tokens.size(), 720U);
  ASSERT_EQ(types.size(), 720U);
  EXPECT_EQ(tokens[700], "<|endoftext|>");
  EXPECT_EQ(types[700], static_cast<int64_t>(GgufTokenType::kControl));
  EXPECT_EQ(tokens[719], "[PAD719]");
  EXPECT_EQ(types[719], static_cast<int64_t>(GgufTokenType::kUnused));
  EXPECT_EQ(types[5], static_cast<int64_t>(GgufTokenType::kNormal));
  const int64_t eos = *metadata.Count("tokenizer.ggml.eos_token_id");
  EXPECT_EQ(tokens[static_cast<size_t>(eos)], "<|im_end|>");
  // generation_config.json names another end of an answer.
  EXPECT_EQ(*metadata.Count("tokenizer.ggml.eot_token_id"), 1);
  EXPECT_FALSE(*metadata.Bool("tokenizer.ggml.add_bos_token"));
}

TEST_F(ExportModelTest, WritesSentencePieceTokenizers) {
  const auto file = Export("llama_tied", {{"vocab_size", 800}}, "llama2");
  ASSERT_TRUE(file.ok()) << file.status();
  const GgufMetadata& metadata = (*file)->metadata();
  EXPECT_EQ(*metadata.Text("tokenizer.ggml.model"), "llama");
  EXPECT_TRUE(*metadata.Bool("tokenizer.ggml.add_space_prefix"));
  EXPECT_TRUE(*metadata.Bool("tokenizer.ggml.add_bos_token"));
  const auto tokens = *metadata.Texts("tokenizer.ggml.tokens");
  const auto types = *metadata.Integers("tokenizer.ggml.token_type");
  const auto scores = *metadata.Numbers("tokenizer.ggml.scores");
  ASSERT_EQ(scores.size(), tokens.size());
  EXPECT_EQ(types[0], static_cast<int64_t>(GgufTokenType::kUnknown));
  EXPECT_EQ(types[1], static_cast<int64_t>(GgufTokenType::kControl));
  EXPECT_EQ(std::set<std::string_view>(tokens.begin(), tokens.end()).size(), tokens.size());
  for (const std::string_view token : tokens) EXPECT_EQ(token.find('\0'), std::string::npos);
  // The first merges of the file are "▁ '" and "v e".
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (tokens[id] == "<0x41>") {
      EXPECT_EQ(types[id], static_cast<int64_t>(GgufTokenType::kByte));
    }
    if (tokens[id] == "▁'") {
      EXPECT_EQ(scores[id], 0.0);
    }
    if (tokens[id] == "ve") {
      EXPECT_EQ(scores[id], -1.0);
    }
  }
  const auto gemma = Export("gemma2", {{"vocab_size", 900}}, "gemma");
  ASSERT_TRUE(gemma.ok()) << gemma.status();
  EXPECT_FALSE(*(*gemma)->metadata().Bool("tokenizer.ggml.add_space_prefix"));
  // Added tokens of the file: two line ends, and two spaces.
  const auto gemma_types = *(*gemma)->metadata().Integers("tokenizer.ggml.token_type");
  EXPECT_EQ(gemma_types[424], static_cast<int64_t>(GgufTokenType::kUserDefined));
  EXPECT_EQ(gemma_types[822], static_cast<int64_t>(GgufTokenType::kNormal));
}

TEST_F(ExportModelTest, RefusesTokenizersThatDoNotFit) {
  EXPECT_THAT(Refusal("qwen2", {}, "qwen3"),
              AllOf(HasSubstr("the tokenizer has 70"), HasSubstr("has 97 rows")));
  EXPECT_THAT(Refusal("qwen2", {{"vocab_size", 720}}, "gpt2_prefix"),
              AllOf(HasSubstr("$.pre_tokenizer"), HasSubstr("gpt-2, smollm")));
}

TEST_F(ExportModelTest, NeverReplacesAFile) {
  const std::string folder = WriteGoldenFolder(dir_, "m", GgufModels()["qwen2"], "");
  const std::string path = dir_.Write("x.gguf", "kept");
  EXPECT_TRUE(absl::IsAlreadyExists(WriteGguf(folder, path, {})));
  EXPECT_EQ(BytesOfFile(path), "kept");
}

TEST(GgufTypeOfTest, NamesTheChoices) {
  EXPECT_EQ(*GgufTypeOf("q8_0"), GgufType::kQ8_0);
  EXPECT_THAT(std::string(GgufTypeOf("q4_0").status().message()),
              StartsWith("type \"q4_0\" is not known; use f32, bf16 or q8_0"));
}

}  // namespace
}  // namespace trainerd::engine
