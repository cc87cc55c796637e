// SPDX-License-Identifier: Apache-2.0
// The expected merges follow from SentencePiece's rule by hand: two neighbors merge if their texts
// make a token, those of the token with the highest score first.
#include "engine/model/gguf/import_sentencepiece.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <string>

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;

class SentencePieceTest : public ::testing::Test {
 protected:
  void Add(std::string_view text, float score, GgufTokenType type = GgufTokenType::kNormal) {
    tokens_.texts.push_back(text);
    tokens_.types.push_back(static_cast<int64_t>(type));
    tokens_.vocabulary_end = tokens_.texts.size();
    scores_.append(reinterpret_cast<const char*>(&score), sizeof(score));
  }
  absl::StatusOr<TokenizerParts> Parts(std::optional<bool> add_space = std::nullopt) {
    GgufMetadata metadata;
    GgufArray list{.type = GgufValueType::kFloat32,
                   .count = static_cast<int64_t>(scores_.size() / sizeof(float)),
                   .bytes = scores_};
    EXPECT_TRUE(metadata.Add("tokenizer.ggml.scores", GgufValue(list)).ok());
    if (add_space) {
      EXPECT_TRUE(metadata.Add("tokenizer.ggml.add_space_prefix", GgufValue(*add_space)).ok());
    }
    return SentencePieceParts(metadata, tokens_);
  }
  ImportedTokens tokens_;
  std::string scores_;
};

TEST_F(SentencePieceTest, MergesByScores) {
  Add("<unk>", 0, GgufTokenType::kUnknown);
  Add("<s>", 0, GgufTokenType::kControl);
  Add("<0x61>", 0, GgufTokenType::kByte);
  Add("a", -10);
  Add("b", -11);
  Add("é", -12);
  Add("bé", -1);
  Add("ab", -2);
  Add("abé", -0.5F);
  const auto parts = Parts();
  ASSERT_TRUE(parts.ok()) << parts.status();
  // Of the two ways to make "abé", "bé" has the better right side, "ab" the better left one than
  // "a": the left side counts first.
  EXPECT_EQ(parts->model["merges"].dump(), R"([["ab","é"],["a","bé"],["b","é"],["a","b"]])");
  EXPECT_EQ(parts->model["unk_token"], "<unk>");
  EXPECT_TRUE(parts->adds_bos);
  EXPECT_THAT(parts->normalizer.dump(), HasSubstr("Prepend"));
  EXPECT_THAT(parts->decoder.dump(), HasSubstr("Strip"));
}

TEST_F(SentencePieceTest, AddsNoSpaceWhereTheFileHasNone) {
  Add("a", 0);
  const auto parts = Parts(/*add_space=*/false);
  ASSERT_TRUE(parts.ok()) << parts.status();
  EXPECT_EQ(parts->normalizer.dump().find("Prepend"), std::string::npos);
  EXPECT_EQ(parts->decoder.dump().find("Strip"), std::string::npos);
}

TEST_F(SentencePieceTest, RefusesScoresThatDoNotOrder) {
  Add("a", 0);
  Add("b", NAN);
  EXPECT_THAT(std::string(Parts().status().message()), HasSubstr("tokenizer.ggml.scores"));
  scores_.resize(sizeof(float));
  EXPECT_TRUE(absl::IsInvalidArgument(Parts().status()));
}

}  // namespace
}  // namespace trainerd::engine
