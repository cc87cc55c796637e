// SPDX-License-Identifier: Apache-2.0
// Files that are refused: by the path of the key that holds what is not supported or not right.
#include "engine/text/tokenizer/tokenizer_file.h"

#include <functional>
#include <initializer_list>

#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/engine/text/tokenizer/golden_families.h"
#include "tests/engine/text/tokenizer/reference_compare.h"

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;
using ::trainerd::testing::ReadText;
using Json = nlohmann::ordered_json;

// Loads the family's file after `edit` has changed it.
absl::Status StatusAfter(const std::string& family, const std::function<void(Json*)>& edit) {
  Json file = Json::parse(ReadText(Folder(family) + "/tokenizer.json"));
  edit(&file);
  TempDir folder;
  folder.Write("tokenizer.json", file.dump());
  return Tokenizer::Load(folder.path()).status();
}

struct BadFile {
  const char* what;
  std::function<void(Json*)> edit;
  const char* message;
};

void ExpectRefused(absl::StatusCode code, std::initializer_list<BadFile> files) {
  for (const BadFile& file : files) {
    const absl::Status status = StatusAfter("qwen3", file.edit);
    EXPECT_EQ(status.code(), code) << file.what << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(file.message)) << file.what;
  }
}

TEST(TokenizerTest, RefusesUnsupportedFeaturesByPath) {
  ExpectRefused(
      absl::StatusCode::kUnimplemented,
      {
          {"unigram", [](Json* f) { (*f)["model"]["type"] = "Unigram"; }, "$.model.type: Unigram"},
          {"dropout", [](Json* f) { (*f)["model"]["dropout"] = 0.1; }, "$.model.dropout"},
          {"suffix", [](Json* f) { (*f)["model"]["end_of_word_suffix"] = "</w>"; },
           "$.model.end_of_word_suffix"},
          {"byte fallback", [](Json* f) { (*f)["model"]["byte_fallback"] = true; },
           "$.model.byte_fallback"},
          {"lower case",
           [](Json* f) {
             (*f)["normalizer"] = {{"type", "Lowercase"}};
           },
           "$.normalizer.type: Lowercase"},
          {"nested",
           [](Json* f) {
             (*f)["normalizer"] = {{"type", "Sequence"},
                                   {"normalizers", {{{"type", "NFC"}}, {{"type", "Strip"}}}}};
           },
           "$.normalizer.normalizers[1].type: Strip"},
          {"regex",
           [](Json* f) { (*f)["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "\\w+"; },
           "$.pre_tokenizer.pretokenizers[0].pattern.Regex: \\w+"},
          {"behaviour",
           [](Json* f) {
             (*f)["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "MergedWithNext";
           },
           "$.pre_tokenizer.pretokenizers[0].behavior"},
          {"white space",
           [](Json* f) {
             (*f)["pre_tokenizer"] = {{"type", "Whitespace"}};
           },
           "$.pre_tokenizer.type: Whitespace"},
          {"no pre-tokenizer", [](Json* f) { (*f)["pre_tokenizer"] = nullptr; },
           "$.decoder.type: ByteLevel"},
          {"decoder",
           [](Json* f) {
             (*f)["decoder"] = {{"type", "WordPiece"}};
           },
           "$.decoder.type: WordPiece"},
          {"post-processor",
           [](Json* f) {
             (*f)["post_processor"] = {{"type", "New"}};
           },
           "$.post_processor.type: New"},
      });
}

// The steps of SentencePiece-style files, by themselves.
TEST(TokenizerTest, RefusesStepsThatItCannotDoExactly) {
  struct BadSteps {
    const char *key, *value, *message;
  };
  for (const BadSteps& bad : std::initializer_list<BadSteps>{
           {"normalizer", R"({"type": "Replace", "pattern": {"Regex": " +"}, "content": "▁"})",
            "$.normalizer.pattern: a pattern that is not a text"},
           {"normalizer", R"({"type": "Replace", "pattern": {"String": "a"}, "content": 5})",
            "$.normalizer.content: expected a text"},
           {"normalizer", R"({"type": "Sequence", "normalizers": [
              {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
              {"type": "Prepend", "prepend": " x"}]})",
            "$.normalizer.normalizers[1]: a space"},
           {"normalizer", R"({"type": "Sequence", "normalizers": [
              {"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaa"},
              {"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaa"}]})",
            "more than 64 times as long"},
           {"pre_tokenizer", R"({"type": "Metaspace"})", "$.pre_tokenizer.replacement: expected"},
           {"pre_tokenizer", R"({"type": "Metaspace", "replacement": "__"})",
            "$.pre_tokenizer.replacement: expected one character"},
           {"pre_tokenizer", R"({"type": "Metaspace", "replacement": "_"})",
            "$.pre_tokenizer.replacement: a second character for a space"},
           {"pre_tokenizer",
            R"({"type": "Metaspace", "replacement": "▁", "add_prefix_space": false})",
            "$.pre_tokenizer.add_prefix_space: contradicts"},
           {"pre_tokenizer",
            R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "last"})",
            "$.pre_tokenizer.prepend_scheme: expected"},
           {"pre_tokenizer", R"({"type": "ByteLevel"})", "ByteLevel after spaces were replaced"},
           {"decoder", R"({"type": "ByteLevel"})", "$.decoder.type: ByteLevel"},
           {"decoder", R"({"type": "Strip", "content": "ab", "start": 1, "stop": 0})",
            "$.decoder.content: expected one character"},
           {"decoder", R"({"type": "Sequence", "decoders": [{"type": "Fuse"},
                           {"type": "ByteFallback"}]})",
            "$.decoder.decoders[1]: this step behind Fuse"},
       }) {
    const absl::Status status =
        StatusAfter("llama2", [&](Json* f) { (*f)[bad.key] = Json::parse(bad.value); });
    EXPECT_FALSE(status.ok()) << bad.value;
    EXPECT_THAT(std::string(status.message()), HasSubstr(bad.message)) << bad.value;
  }
}

TEST(TokenizerTest, RefusesMalformedContentByPath) {
  ExpectRefused(
      absl::StatusCode::kInvalidArgument,
      {
          {"merge of unknown tokens",
           [](Json* f) {
             (*f)["model"]["merges"][3] = {"a", "qqqqq"};
           },
           "$.model.merges[3]"},
          {"merge of three",
           [](Json* f) {
             (*f)["model"]["merges"][2] = {"a", "b", "c"};
           },
           "$.model.merges[2]"},
          {"id twice", [](Json* f) { (*f)["model"]["vocab"]["!!!new"] = 0; },
           "$.model.vocab[\"!!!new\"]"},
          {"negative id", [](Json* f) { (*f)["model"]["vocab"]["!!!new"] = -1; },
           "$.model.vocab[\"!!!new\"]"},
          {"huge id", [](Json* f) { (*f)["added_tokens"][0]["id"] = 1LL << 40; },
           "$.added_tokens[0].id"},
          // 700 tokens: the size of the file bounds what it can allocate.
          {"far id", [](Json* f) { (*f)["model"]["vocab"]["!!!new"] = 1 << 23; },
           "$.model.vocab[\"!!!new\"]: expected a token id, 0 to 66937 in a vocabulary of 701 "
           "tokens"},
          {"far added id", [](Json* f) { (*f)["added_tokens"][0]["id"] = 1 << 23; },
           "$.added_tokens[0].id: is 8388608, where PyPI tokenizers gives this token 700"},
          {"no model", [](Json* f) { f->erase("model"); }, "$.model"},
      });
}

TEST(TokenizerTest, RefusesMissingAndBrokenFiles) {
  TempDir folder;
  EXPECT_EQ(Tokenizer::Load(folder.path()).status().code(), absl::StatusCode::kNotFound);
  folder.Write("tokenizer.json", "{\"model\": ");
  EXPECT_EQ(Tokenizer::Load(folder.path()).status().code(), absl::StatusCode::kInvalidArgument);
  folder.Write("tokenizer.json", "[]");
  EXPECT_EQ(Tokenizer::Load(folder.path()).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace trainerd::engine
