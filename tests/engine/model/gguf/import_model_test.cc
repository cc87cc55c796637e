// SPDX-License-Identifier: Apache-2.0
// A model that was exported and imported has the same weights, and its tokenizer gives the ids of
// the reference (tests/golden/text/tokenizers). That the exported bytes are right is checked in
// export_model_test.cc.
#include "engine/model/gguf/import_model.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "absl/strings/str_replace.h"
#include "engine/formats/gguf/gguf_writer.h"
#include "engine/model/folder/hf_folder.h"
#include "engine/model/gguf/export_model.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "tests/engine/model/gguf/gguf_folder.h"

namespace trainerd::engine {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

nlohmann::json GoldenOf(const std::string& model) {
  nlohmann::json golden = GgufModels()[model];
  nlohmann::json& config = golden["config"];
  (config.contains("text_config") ? config["text_config"] : config)["vocab_size"] = 720;
  return golden;
}

class ImportModelTest : public ::testing::Test {
 protected:
  void Export(const std::string& model, const nlohmann::json& changes,
              const std::string& tokenizer) {
    nlohmann::json golden = GoldenOf(model);
    if (changes.is_object()) golden["config"].update(changes);
    source_ = WriteGoldenFolder(dir_, "source", golden, tokenizer);
    const absl::Status status = WriteGguf(source_, gguf_, {.type = GgufType::kF32});
    ASSERT_TRUE(status.ok()) << status;
  }
  // The file with `from` replaced by `to`, which have the same length.
  std::string Changed(const std::string& from, const std::string& to) {
    std::string bytes = BytesOfFile(gguf_);
    EXPECT_THAT(bytes, HasSubstr(from));
    return dir_.Write("changed.gguf", absl::StrReplaceAll(bytes, {{from, to}}));
  }
  std::string Refusal(const std::string& gguf) {
    const auto model = ImportGguf(gguf, dir_ / "refused");
    EXPECT_FALSE(model.ok());
    EXPECT_FALSE(std::filesystem::exists(dir_ / "refused"));
    return std::string(model.status().message());
  }
  void ExpectSameWeights() {
    const auto before = HfFolder::Open(source_), after = HfFolder::Open(output_);
    ASSERT_TRUE(before.ok() && after.ok()) << before.status() << after.status();
    ASSERT_EQ((*before)->Names(), (*after)->Names());
    for (const std::string& name : (*before)->Names()) {
      const TensorInfo* info = (*before)->Find(name);
      const auto bytes = (*after)->Bytes(name, info->shape);
      ASSERT_TRUE(bytes.ok()) << bytes.status();
      EXPECT_EQ(*(*before)->Bytes(name, info->shape), *bytes) << name;
    }
  }
  TempDir dir_;
  std::string source_, gguf_ = dir_ / "model.gguf", output_ = dir_ / "imported";
};

// Except for windows and positions.
void ExpectSameBlock(const ModelConfig& a, const ModelConfig& b) {
  const BlockSpec &x = a.block, &y = b.block;
  ASSERT_EQ(x.layers.size(), y.layers.size());
  for (size_t i = 0; i < x.layers.size(); ++i) {
    EXPECT_EQ(x.layers[i].rope, y.layers[i].rope) << i;
    EXPECT_EQ(x.layers[i].has_experts, y.layers[i].has_experts) << i;
  }
  EXPECT_EQ(x.norm_placement, y.norm_placement);
  EXPECT_EQ(x.norm_offset, y.norm_offset);
  EXPECT_EQ(x.activation, y.activation);
  EXPECT_EQ(x.qk_norm, y.qk_norm);
  EXPECT_EQ(x.experts.count, y.experts.count);
  EXPECT_EQ(x.experts.per_token, y.experts.per_token);
  EXPECT_EQ(x.experts.intermediate_size, y.experts.intermediate_size);
  EXPECT_EQ(x.experts.normalizes, y.experts.normalizes);
  EXPECT_EQ(x.qkv_bias, y.qkv_bias);
  EXPECT_EQ(x.output_bias, y.output_bias);
  EXPECT_EQ(x.mlp_bias, y.mlp_bias);
  EXPECT_EQ(x.attention_soft_cap, y.attention_soft_cap);
  EXPECT_EQ(x.logits_soft_cap, y.logits_soft_cap);
  EXPECT_EQ(x.embedding_scale, y.embedding_scale);
  EXPECT_EQ(x.rounds_embedding_scale, y.rounds_embedding_scale);
  EXPECT_EQ(x.residual_scale, y.residual_scale);
  EXPECT_EQ(x.attention_scale, y.attention_scale);
  EXPECT_EQ(x.logits_scale, y.logits_scale);
}

void ExpectSameConfig(const ModelConfig& a, const ModelConfig& b) {
  EXPECT_EQ(a.vocab_size, b.vocab_size);
  EXPECT_EQ(a.hidden_size, b.hidden_size);
  EXPECT_EQ(a.intermediate_size, b.intermediate_size);
  EXPECT_EQ(a.num_heads, b.num_heads);
  EXPECT_EQ(a.num_kv_heads, b.num_kv_heads);
  EXPECT_EQ(a.head_dim, b.head_dim);
  EXPECT_EQ(a.rms_norm_eps, b.rms_norm_eps);
  EXPECT_EQ(a.tie_word_embeddings, b.tie_word_embeddings);
  ExpectSameBlock(a, b);
}

class ImportFamilyTest : public ImportModelTest,
                         public ::testing::WithParamInterface<std::string> {};

TEST_P(ImportFamilyTest, KeepsWeightsAndConfig) {
  Export(GetParam(), {}, "qwen3");
  const auto imported = ImportGguf(gguf_, output_);
  if (GgufModels()[GetParam()].contains("vision")) {
    EXPECT_THAT(std::string(imported.status().message()),
                AllOf(HasSubstr("vision-language"), HasSubstr("Hugging Face folder")));
    return;
  }
  if (GetParam() == "llama3_rope_bias") {
    EXPECT_THAT(std::string(imported.status().message()),
                HasSubstr("not those of Llama 3.1 or 3.2"));
    return;
  }
  ASSERT_TRUE(imported.ok()) << imported.status();
  EXPECT_EQ(imported->dtype, "float32");
  ExpectSameWeights();
  const auto before = ReadModelConfig(source_), after = ReadModelConfig(output_);
  ASSERT_TRUE(after.ok()) << after.status();
  ExpectSameConfig(*before, *after);
  int64_t window = 0;
  for (const LayerSpec& layer : before->block.layers) window = std::max(window, layer.window);
  const bool keeps_windows = GetParam() == "gemma2" || GetParam() == "gemma3";
  EXPECT_EQ(after->max_position_embeddings,
            window > 0 && !keeps_windows ? window : before->max_position_embeddings);
  for (size_t i = 0; i < after->block.layers.size(); ++i) {
    EXPECT_EQ(after->block.layers[i].window, keeps_windows ? before->block.layers[i].window : 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, ImportFamilyTest, ::testing::ValuesIn(GgufModelNames()));

TEST_F(ImportModelTest, KeepsATiedHead) {
  Export("olmo2", {{"tie_word_embeddings", true}}, "qwen3");
  ASSERT_TRUE(ImportGguf(gguf_, output_).ok());
  ExpectSameWeights();
  EXPECT_TRUE(ReadModelConfig(output_)->tie_word_embeddings);
}

TEST_F(ImportModelTest, RefusesWhatTheModelWouldIgnore) {
  source_ = WriteGoldenFolder(dir_, "source", GoldenOf("qwen2"), "qwen3");
  ASSERT_TRUE(WriteGguf(source_, gguf_, {.type = GgufType::kBF16}).ok());
  EXPECT_THAT(Refusal(Changed("general.file_type", "qwen2.logit_scale")),
              HasSubstr("qwen2.logit_scale 32 is not supported"));
}

TEST_F(ImportModelTest, RefusesAPartOfAModel) {
  GgufEntries entries;
  entries.AddText("general.architecture", "qwen2");
  entries.AddUint32("split.count", 3);
  auto writer = GgufWriter::Create(gguf_, entries, {});
  ASSERT_TRUE(writer.ok() && (*writer)->Finish().ok());
  EXPECT_THAT(Refusal(gguf_), AllOf(HasSubstr("one of 3"), HasSubstr("llama-gguf-split --merge")));
}

TEST_F(ImportModelTest, KeepsRopeScalingAndBiases) {
  const nlohmann::json rope = {{"factor", 32.0},         {"high_freq_factor", 4.0},
                               {"low_freq_factor", 1.0}, {"original_max_position_embeddings", 8192},
                               {"rope_theta", 500000.0}, {"rope_type", "llama3"}};
  Export("llama3_rope_bias", {{"rope_parameters", rope}, {"max_position_embeddings", 131072}},
         "llama3");
  const auto imported = ImportGguf(gguf_, output_);
  ASSERT_TRUE(imported.ok()) << imported.status();
  ExpectSameWeights();
  EXPECT_EQ(ReadModelConfig(output_)->block.layers[1].rope,
            ReadModelConfig(source_)->block.layers[1].rope);
}

TEST_F(ImportModelTest, RefusesOtherRopeScaling) {
  Export("llama3_rope_bias", {}, "llama3");
  EXPECT_THAT(Refusal(gguf_), AllOf(HasSubstr(gguf_), HasSubstr("rope_freqs.weight"),
                                    HasSubstr("not those of Llama 3.1 or 3.2")));
}

class ImportTokenizerTest : public ImportModelTest,
                            public ::testing::WithParamInterface<std::string> {};

TEST_P(ImportTokenizerTest, GivesTheIdsOfTheReference) {
  Export("llama_tied", {}, GetParam());
  const auto imported = ImportGguf(gguf_, output_);
  ASSERT_TRUE(imported.ok()) << imported.status();
  const auto tokenizer = Tokenizer::Load(output_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto original = Tokenizer::Load(source_);
  ASSERT_TRUE(original.ok()) << original.status();
  EXPECT_EQ((*tokenizer)->eos_id(), (*original)->eos_id());
  EXPECT_EQ((*tokenizer)->vocab_size(), (*original)->vocab_size());
  const nlohmann::json cases = golden::File("text/tokenizers/" + GetParam() + "/cases")["cases"];
  // A GGUF file cannot say that a token is searched for in another way.
  std::set<int32_t> special_rules;
  for (const AddedToken& token : (*original)->added_tokens()) {
    if (token.normalized || token.single_word || token.lstrip || token.rstrip)
      special_rules.insert(token.id);
  }
  int compared = 0;
  Encoding encoding;
  for (const nlohmann::json& item : cases) {
    const std::string text = item["text"];
    const std::vector<int32_t> expected = item["ids"];
    ASSERT_TRUE((*tokenizer)->Encode(text, &encoding).ok());
    const auto has_rule = [&](int32_t id) { return special_rules.contains(id); };
    if (std::any_of(expected.begin(), expected.end(), has_rule) ||
        std::any_of(encoding.ids.begin(), encoding.ids.end(), has_rule))
      continue;
    EXPECT_EQ(encoding.ids, expected) << text;
    ++compared;
  }
  EXPECT_GT(compared, 10);
}

INSTANTIATE_TEST_SUITE_P(PreTokenizers, ImportTokenizerTest,
                         ::testing::Values("smollm2", "gpt2", "llama3", "qwen3", "qwen35", "o200k",
                                           "nemo"));

TEST_F(ImportModelTest, KeepsTheChatTemplate) {
  source_ = WriteGoldenFolder(dir_, "source", GoldenOf("qwen2"), "qwen3");
  dir_.Write("source/chat_template.jinja", "{{ messages[0].content }} ü");
  ASSERT_TRUE(WriteGguf(source_, gguf_, {.type = GgufType::kF32}).ok());
  ASSERT_TRUE(ImportGguf(gguf_, output_).ok());
  const auto tokenizer = Tokenizer::Load(output_);
  ASSERT_EQ((*tokenizer)->chat_templates().size(), 1U);
  EXPECT_EQ((*tokenizer)->chat_templates()[0].source, "{{ messages[0].content }} ü");
}

TEST_F(ImportModelTest, DequantizesToBf16) {
  source_ = WriteGoldenFolder(dir_, "source", GoldenOf("llama_tied"), "smollm2");
  ASSERT_TRUE(WriteGguf(source_, gguf_, {.type = GgufType::kQ8_0}).ok());
  const auto imported = ImportGguf(gguf_, output_);
  ASSERT_TRUE(imported.ok()) << imported.status();
  EXPECT_EQ(imported->dtype, "bfloat16");
  const auto folder = HfFolder::Open(output_);
  const TensorInfo* info = (*folder)->Find("model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(info->dtype, StoredDtype::kBFloat16);
}

TEST_F(ImportModelTest, NamesWhatIsNotSupported) {
  Export("qwen2", {}, "qwen3");
  EXPECT_THAT(Refusal(Changed("qwen2.", "qwen9.")), HasSubstr("qwen2.context_length is missing"));
  std::string bytes = BytesOfFile(gguf_);
  bytes.replace(bytes.find("qwen2"), 5, "bloom");
  EXPECT_THAT(Refusal(dir_.Write("bloom.gguf", bytes)),
              HasSubstr("the architecture \"bloom\" (general.architecture) is not supported; "
                        "supported are llama, qwen2, qwen3, qwen3moe, gemma, gemma2, gemma3, phi3, "
                        "granite, olmo2, smollm3; "));
  bytes = BytesOfFile(gguf_);
  const size_t pre = bytes.find("qwen2", bytes.find("tokenizer.ggml.pre"));
  bytes.replace(pre, 5, "jais9");
  EXPECT_THAT(Refusal(dir_.Write("pre.gguf", bytes)),
              AllOf(HasSubstr("the pre-tokenizer \"jais9\" (tokenizer.ggml.pre)"),
                    HasSubstr("gpt-2, smollm")));
  bytes = BytesOfFile(gguf_);
  const std::string eps = "layer_norm_rms_epsilon";
  // Behind the type of the value.
  bytes.replace(bytes.find(eps) + eps.size() + 4, 4, std::string("\0\0\xc0\x7f", 4));
  EXPECT_THAT(Refusal(dir_.Write("nan.gguf", bytes)),
              HasSubstr("qwen2.attention.layer_norm_rms_epsilon is nan; it must be positive"));
  EXPECT_THAT(Refusal(Changed("blk.1.attn_q.weight", "blk.1.attn_X.weight")),
              HasSubstr("tensor \"blk.1.attn_q.weight\" is missing"));
}

TEST_F(ImportModelTest, RefusesBlocksOfSeveralRows) {
  // One dimension of whole blocks is possible in a file, but no weight has it.
  Export("qwen2", {}, "qwen3");
  std::string bytes = BytesOfFile(gguf_);
  const std::string name = "blk.0.attn_norm.weight";
  const size_t dimensions = bytes.find(name) + name.size();
  ASSERT_EQ(bytes[dimensions], 1);
  const size_t type = dimensions + sizeof(uint32_t) + sizeof(uint64_t);
  ASSERT_EQ(bytes[type], 0) << "F32";
  bytes[type] = 8;
  EXPECT_THAT(Refusal(dir_.Write("blocks.gguf", bytes)), AllOf(HasSubstr(name), HasSubstr("Q8_0")));
}

// The goldens have merges for one way to make a token; SentencePiece merges any two neighbors whose
// texts make it. The ids of these texts are the same, and those that llama.cpp gives.
TEST_F(ImportModelTest, ReadsSentencePieceTokenizers) {
  for (const char* name : {"llama2", "phi3", "mistral"}) {
    Export("llama_tied", {{"vocab_size", 800}}, name);
    ASSERT_TRUE(ImportGguf(gguf_, output_).ok());
    const auto tokenizer = Tokenizer::Load(output_), original = Tokenizer::Load(source_);
    ASSERT_TRUE(tokenizer.ok() && original.ok()) << tokenizer.status();
    EXPECT_EQ((*tokenizer)->unk_id(), (*original)->unk_id()) << name;
    EXPECT_EQ((*tokenizer)->eos_id(), (*original)->eos_id()) << name;
    Encoding a, b;
    for (const char* text : {"Hello world", "The year 2024, isn't it?", "é 😀\n\ttabs"}) {
      ASSERT_TRUE((*tokenizer)->Encode(text, &a, /*add_special_tokens=*/true).ok());
      ASSERT_TRUE((*original)->Encode(text, &b, /*add_special_tokens=*/true).ok());
      EXPECT_EQ(a.ids, b.ids) << name << ": " << text;
      EXPECT_EQ((*tokenizer)->Decode(a.ids), (*original)->Decode(b.ids));
    }
    for (const std::string& path : {source_, gguf_, output_}) std::filesystem::remove_all(path);
  }
}

TEST_F(ImportModelTest, RefusesOtherTokenizers) {
  Export("llama_tied", {{"vocab_size", 800}}, "llama2");
  std::string bytes = BytesOfFile(gguf_);
  bytes.replace(bytes.find("llama", bytes.find("tokenizer.ggml.model")), 5, "plamo");
  EXPECT_THAT(Refusal(dir_.Write("other.gguf", bytes)),
              HasSubstr("tokenizer.ggml.model \"plamo\" is not supported; supported are gpt2 and "
                        "llama"));
  EXPECT_THAT(Refusal(Changed("tokenizer.ggml.scores", "tokenizer.ggml.scoreX")),
              HasSubstr("tokenizer.ggml.scores is missing"));
}

TEST_F(ImportModelTest, NeverReplacesAFolder) {
  Export("qwen2", {}, "qwen3");
  std::filesystem::create_directory(output_);
  const auto model = ImportGguf(gguf_, output_);
  EXPECT_TRUE(absl::IsAlreadyExists(model.status())) << model.status();
  EXPECT_TRUE(std::filesystem::is_empty(output_));
}

}  // namespace
}  // namespace trainerd::engine
