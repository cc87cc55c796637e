// SPDX-License-Identifier: Apache-2.0
// Expected ids and texts: tests/golden/text/make_tokenizer_goldens.py, PyPI tokenizers 0.23.3.
#include "engine/text/tokenizer/tokenizer.h"

#include <algorithm>
#include <limits>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/text/tokenizer/golden_families.h"
#include "tests/engine/text/tokenizer/reference_compare.h"

namespace trainerd::engine {
namespace {

using ::testing::HasSubstr;
using ::trainerd::testing::OffsetsInCharacters;
using ::trainerd::testing::ReadText;
using Json = nlohmann::ordered_json;

class TokenizerFamilyTest : public ::testing::TestWithParam<const char*> {};

TEST_P(TokenizerFamilyTest, AgreesWithReference) {
  const auto tokenizer = LoadFamily(GetParam());
  const Json golden = Json::parse(ReadText(Folder(GetParam()) + "/cases.json"));
  ASSERT_GT(golden["cases"].size(), 60u);
  for (const auto& c : golden["cases"]) {
    const auto text = c["text"].get<std::string>();
    const auto ids = c["ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(Ids(*tokenizer, text), ids) << text;
    EXPECT_EQ(Ids(*tokenizer, text), ids) << "from the warm word cache: " << text;
    if (c.contains("offsets")) {
      Encoding encoding;
      ASSERT_TRUE(tokenizer->Encode(text, &encoding).ok());
      EXPECT_EQ(OffsetsInCharacters(text, encoding), c["offsets"].get<std::vector<int32_t>>())
          << text;
    }
    if (c.contains("ids_with_specials")) {
      EXPECT_EQ(Ids(*tokenizer, text, /*add_special_tokens=*/true),
                c["ids_with_specials"].get<std::vector<int32_t>>());
    }
    const auto decoded = c["decoded"].get<std::string>();
    EXPECT_EQ(tokenizer->Decode(ids), decoded);
    EXPECT_EQ(tokenizer->Decode(ids, /*skip_special_tokens=*/true),
              c.value("decoded_plain", decoded));
  }
}

TEST_P(TokenizerFamilyTest, OffsetsCoverTheText) {
  const auto tokenizer = LoadFamily(GetParam());
  const Json golden = Json::parse(ReadText(Folder(GetParam()) + "/cases.json"));
  for (const auto& c : golden["cases"]) {
    const auto text = c["text"].get<std::string>();
    Encoding e;
    ASSERT_TRUE(tokenizer->Encode(text, &e).ok());
    ASSERT_EQ(e.begin.size(), e.ids.size());
    ASSERT_EQ(e.end.size(), e.ids.size());
    // NFC may reorder marks, so the order of offsets is not checked here.
    std::vector<bool> covered(text.size(), tokenizer->unspellable_bytes() > 0);
    for (size_t i = 0; i < e.size(); ++i) {
      ASSERT_LE(e.begin[i], e.end[i]);
      ASSERT_LE(e.end[i], text.size());
      std::fill(covered.begin() + e.begin[i], covered.begin() + e.end[i], true);
    }
    EXPECT_EQ(std::count(covered.begin(), covered.end(), false), 0) << text.substr(0, 80);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, TokenizerFamilyTest,
                         ::testing::Values("gpt2", "gpt2_prefix", "smollm2", "qwen3", "llama3",
                                           "nemo", "o200k", "qwen35", "llama2", "mistral", "phi3",
                                           "gemma"));

TEST(TokenizerTest, OffsetsOfPlainTokensSpellTheText) {
  const auto tokenizer = LoadFamily("qwen3");
  const std::string text = "Hello world<|im_end|> naïve 12";
  Encoding e;
  ASSERT_TRUE(tokenizer->Encode(text, &e).ok());
  for (size_t i = 0; i < e.size(); ++i) {
    EXPECT_EQ(tokenizer->Decode({e.ids[i]}), text.substr(e.begin[i], e.end[i] - e.begin[i]));
  }
}

TEST(TokenizerTest, OffsetsPointIntoTheInputWhereNfcChangedIt) {
  const auto tokenizer = LoadFamily("qwen3");
  // "o" and a diaeresis become one character; it and what follows keep their places in the input.
  const std::string text = "ko\xCC\x88x<|im_end|>";
  Encoding e;
  ASSERT_TRUE(tokenizer->Encode(text, &e).ok());
  EXPECT_EQ(e.ids.back(), *tokenizer->TokenToId("<|im_end|>"));
  EXPECT_EQ(e.begin.back(), 5u);
  EXPECT_EQ(e.end.back(), text.size());
  bool covers_composed = false;
  for (size_t i = 0; i < e.size(); ++i) covers_composed |= e.begin[i] <= 1 && e.end[i] >= 4;
  EXPECT_TRUE(covers_composed);
}

// By hand: what the template wrote is found, what stands in a plain span is not, also where a match
// would begin or end outside of it.
TEST(TokenizerTest, FindsNoSpecialTokenInPlainText) {
  const auto tokenizer = LoadFamily("qwen3");
  const int32_t start = *tokenizer->TokenToId("<|im_start|>");
  const int32_t end = *tokenizer->TokenToId("<|im_end|>");
  const auto count = [&](std::string_view text, std::vector<TextSpan> plain, int32_t id) {
    Encoding e;
    EXPECT_TRUE(tokenizer->EncodeWithPlainText(text, plain, &e).ok());
    EXPECT_EQ(tokenizer->Decode(e.ids), text);
    return std::count(e.ids.begin(), e.ids.end(), id);
  };
  const std::string text = "<|im_start|>a<|im_end|>b<|im_end|>";
  EXPECT_EQ(count(text, {}, end), 2);
  EXPECT_EQ(count(text, {{12, 24}}, end), 1);
  EXPECT_EQ(count(text, {{12, 24}}, start), 1);
  EXPECT_EQ(count(text, {{0, 34}}, start), 0);
  EXPECT_EQ(count(text, {{33, 34}}, end), 1) << "the second ends within the span";
  EXPECT_EQ(count(text, {{12, 14}}, end), 1) << "the first begins within the span";
  EXPECT_EQ(count(text, {{0, 0}, {34, 34}}, end), 2) << "empty spans touch nothing";
  // "<|im_start|>" in the span must not hide the one that the template wrote right behind it.
  EXPECT_EQ(count("<|im_start|><|im_start|>", {{0, 12}}, start), 1);
  EXPECT_EQ(count("x<|im_start|>", {{0, 1}}, start), 1);
  // Added tokens that are not special are found everywhere, as the reference does.
  EXPECT_EQ(count("<think>", {{0, 7}}, *tokenizer->TokenToId("<think>")), 1);
}

// A space that add_prefix_space puts in front may be a token by itself; where NFC changed the text
// its offsets were once looked up before the first byte.
TEST(TokenizerTest, APrefixSpaceCoversNothingWhereNfcChangedTheText) {
  Json file = Json::parse(ReadText(Folder("gpt2_prefix") + "/tokenizer.json"));
  file["normalizer"] = {{"type", "NFC"}};
  file["model"]["merges"] = Json::array();
  TempDir folder;
  folder.Write("tokenizer.json", file.dump());
  const auto tokenizer = Tokenizer::Load(folder.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  Encoding e;
  ASSERT_TRUE((*tokenizer)->Encode("e\xCC\x81x", &e).ok());
  ASSERT_EQ(e.size(), 4u);  // the space, two bytes of the composed character, x
  EXPECT_EQ(e.begin, (std::vector<uint32_t>{0, 0, 0, 3}));
  EXPECT_EQ(e.end, (std::vector<uint32_t>{0, 3, 3, 4}));
}

// The token of a merge is looked for at the number behind the last merge's; where that number is
// no token its spelling is as empty as what these merges join.
TEST(TokenizerTest, MergesOfEmptyTokensNameNoTokenBeyondTheVocabulary) {
  Json file = Json::parse(ReadText(Folder("gpt2") + "/tokenizer.json"));
  auto& vocabulary = file["model"]["vocab"];
  vocabulary[""] = vocabulary.size();
  file["added_tokens"] = Json::array();
  for (int i = 0; i < 5000; ++i) file["model"]["merges"].push_back({"", ""});
  TempDir folder;
  folder.Write("tokenizer.json", file.dump());
  const auto tokenizer = Tokenizer::Load(folder.path());
  if (!tokenizer.ok()) {
    EXPECT_NE(tokenizer.status().message().find("$.model"), std::string::npos)
        << tokenizer.status();
    return;
  }
  EXPECT_EQ(Ids(**tokenizer, "hello world"), Ids(*LoadFamily("gpt2"), "hello world"));
}

TEST(TokenizerTest, CountsBytesThatNoTokenSpells) {
  const auto tokenizer = LoadFamily("smollm2");
  EXPECT_EQ(tokenizer->unspellable_bytes(), 3);
  EXPECT_EQ(tokenizer->UnspellableExample(), "0x04, 0xf2, 0xf3");
  EXPECT_EQ(Ids(*tokenizer,
                "a\x04"
                "b"),
            Ids(*tokenizer,
                "a\x04\x04"
                "b"));
  EXPECT_EQ(LoadFamily("gpt2")->unspellable_bytes(), 0);
  EXPECT_EQ(LoadFamily("gpt2")->UnspellableExample(), "");
}

TEST(TokenizerTest, KnowsNamedTokens) {
  const auto tokenizer = LoadFamily("qwen3");
  EXPECT_EQ(tokenizer->eos_id(), tokenizer->TokenToId("<|im_end|>"));
  EXPECT_EQ(tokenizer->pad_id(), tokenizer->TokenToId("<|endoftext|>"));
  EXPECT_EQ(tokenizer->bos_id(), std::nullopt);
  EXPECT_EQ(tokenizer->IdToToken(*tokenizer->eos_id()), "<|im_end|>");
  EXPECT_TRUE(tokenizer->IsSpecial(*tokenizer->eos_id()));
  EXPECT_FALSE(tokenizer->IsSpecial(*tokenizer->TokenToId("<think>")));
  for (const int32_t none :
       {-1, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()}) {
    EXPECT_FALSE(tokenizer->IsSpecial(none));
  }
  EXPECT_EQ(tokenizer->TokenToId("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer->IdToToken(-1), "");
  EXPECT_EQ(tokenizer->IdToToken(1 << 20), "");
  EXPECT_EQ(tokenizer->Decode({-1, 1 << 20}), "");
  EXPECT_EQ(tokenizer->vocab_size(), 708);
}

TEST(TokenizerTest, EncodesFromManyThreads) {
  const auto tokenizer = LoadFamily("qwen3");
  const std::string text = "Hello world, it's naïve 123 <|im_start|>你好世界";
  const auto expected = Ids(*tokenizer, text);
  std::vector<std::thread> threads;
  std::vector<int> equal(2, 0);
  for (size_t t = 0; t < equal.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        Encoding e;
        if (tokenizer->Encode(text, &e).ok() && e.ids == expected) ++equal[t];
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(equal, std::vector<int>(2, 200));
}

TEST(TokenizerTest, RefusesTextThatIsNotUtf8) {
  const auto tokenizer = LoadFamily("gpt2");
  Encoding e;
  for (const char* bad : {"ab\xFF", "ab\xC3", "ab\xED\xA0\x80", "ab\xC0\x80"}) {
    const absl::Status status = tokenizer->Encode(bad, &e);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("at byte 2"));
  }
}

}  // namespace
}  // namespace trainerd::engine
