// SPDX-License-Identifier: Apache-2.0
// Compares with PyPI tokenizers, in the same run, on generated texts: 100,000 in all over the
// families of tests/golden/text, and the Qwen3 and SmolLM2 tokenizers where they are.
#include "engine/text/tokenizer/tokenizer.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/text/tokenizer/reference_compare.h"

namespace trainerd::engine {
namespace {

using ::trainerd::testing::FrameReader;
using ::trainerd::testing::Numbers;
using ::trainerd::testing::ReadText;
using ::trainerd::testing::ReferencePython;
using ::trainerd::testing::RunReference;

void Compare(const std::string& folder, int count, int seed) {
  ::trainerd::testing::CompareWithReference(folder, {.count = count, .seed = seed});
}

void ComparePlainText(const std::string& folder, int count, int seed) {
  const auto tokenizer = Tokenizer::Load(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  TempDir temp;
  const std::string path = temp.path() + "/frames";
  ASSERT_TRUE(RunReference("reference_plain.py",
                           {folder, std::to_string(count), std::to_string(seed), path}));
  FrameReader frames(path);
  std::string text, raw_spans, raw_ids;
  Encoding encoding, with_tokens;
  int compared = 0, different = 0, changed = 0;
  while (frames.Next(&text) && frames.Next(&raw_spans) && frames.Next(&raw_ids)) {
    const std::vector<uint32_t> bounds = Numbers<uint32_t>(raw_spans);
    std::vector<TextSpan> plain;
    for (size_t i = 0; i + 1 < bounds.size(); i += 2) plain.push_back({bounds[i], bounds[i + 1]});
    ASSERT_TRUE((*tokenizer)->EncodeWithPlainText(text, plain, &encoding).ok());
    ASSERT_TRUE((*tokenizer)->Encode(text, &with_tokens).ok());
    changed += encoding.ids != with_tokens.ids;
    if (encoding.ids != Numbers<int32_t>(raw_ids) && ++different <= 5)
      ADD_FAILURE() << folder << " differs on: " << text.substr(0, 500);
    ++compared;
  }
  EXPECT_GE(compared, count / 5);
  EXPECT_GE(changed, compared / 10) << "too few messages spell a special token";
  EXPECT_EQ(different, 0);
}

class TokenizerReferenceTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (ReferencePython().empty()) {
      GTEST_SKIP() << "no reference packages: run deploy/install_dependencies.sh for tests";
    }
  }
};

TEST_P(TokenizerReferenceTest, AgreesOnGeneratedTexts) {
  Compare(TRAINERD_SOURCE_DIR + "/tests/golden/text/tokenizers/" + GetParam(), 10'000, 11);
}

TEST_P(TokenizerReferenceTest, AgreesOnPlainText) {
  ComparePlainText(TRAINERD_SOURCE_DIR + "/tests/golden/text/tokenizers/" + GetParam(), 3'000, 21);
}

INSTANTIATE_TEST_SUITE_P(Families, TokenizerReferenceTest,
                         ::testing::Values("gpt2", "gpt2_prefix", "smollm2", "qwen3", "llama3",
                                           "nemo", "o200k", "qwen35"));

// Special tokens with each flag, in the text as it is and in its normalised form.
TEST_F(TokenizerReferenceTest, AgreesOnPlainTextWithFlaggedTokens) {
  auto file = nlohmann::json::parse(
      ReadText(TRAINERD_SOURCE_DIR + "/tests/golden/text/tokenizers/qwen3/tokenizer.json"));
  for (auto& token : file["added_tokens"]) token["special"] = true;
  TempDir folder;
  folder.Write("tokenizer.json", file.dump());
  ComparePlainText(folder.path(), 5'000, 22);
}

TEST_F(TokenizerReferenceTest, AgreesOnPlainTextOfSentencePiece) {
  for (const char* family : {"llama2", "phi3", "gemma"}) {
    ComparePlainText(TRAINERD_SOURCE_DIR + "/tests/golden/text/tokenizers/" + family, 3'000, 24);
  }
}

TEST_F(TokenizerReferenceTest, AgreesForQwen3) {
  const std::string folder = ::trainerd::testing::SharedDir() + "/models/qwen3-tokenizer";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not there";
  Compare(folder, 20'000, 12);
  ComparePlainText(folder, 5'000, 23);
}

TEST_F(TokenizerReferenceTest, AgreesForSmolLm2) {
  const std::string python = ReferencePython();
  const std::string cache = python.substr(0, python.rfind("/venv-tests"));
  const std::string folder = cache + "/models/SmolLM2-135M-Instruct";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not there";
  Compare(folder, 20'000, 13);
  EXPECT_EQ((*Tokenizer::Load(folder))->unspellable_bytes(), 21);
}

}  // namespace
}  // namespace trainerd::engine
