// SPDX-License-Identifier: Apache-2.0
// Expected ids and texts: tests/golden/text/make_tokenizer_goldens.py, PyPI tokenizers 0.23.3.
#include "engine/text/tokenizer/tokenizer.h"

#include <algorithm>
#include <limits>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/text/tokenizer/reference_compare.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::trainerd::testing::OffsetsInCharacters;
using ::trainerd::testing::ReadText;
using Json = nlohmann::ordered_json;

std::string Folder(const std::string& family) {
  return TRAINERD_SOURCE_DIR + "/tests/golden/text/tokenizers/" + family;
}

std::unique_ptr<Tokenizer> LoadFamily(const std::string& family) {
  auto tokenizer = Tokenizer::Load(Folder(family));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

std::vector<int32_t> Ids(const Tokenizer& tokenizer, std::string_view text,
                         bool add_special_tokens = false) {
  Encoding encoding;
  EXPECT_TRUE(tokenizer.Encode(text, &encoding, add_special_tokens).ok());
  return encoding.ids;
}

// Loads the family's file after `edit` has changed it.
absl::Status StatusAfter(const std::string& family, const std::function<void(Json*)>& edit) {
  Json file = Json::parse(ReadText(Folder(family) + "/tokenizer.json"));
  edit(&file);
  TempDir folder;
  folder.Write("tokenizer.json", file.dump());
  return Tokenizer::Load(folder.path()).status();
}

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

// The templates as "name=source", in order.
std::vector<std::string> Templates(const std::string& folder) {
  std::vector<std::string> texts;
  const std::unique_ptr<Tokenizer> tokenizer = *Tokenizer::Load(folder);
  for (const NamedTemplate& entry : tokenizer->chat_templates()) {
    texts.push_back(entry.name + "=" + entry.source);
  }
  return texts;
}

TEST(TokenizerTest, ReadsTemplatesFromEachPlace) {
  TempDir folder;
  folder.Write("tokenizer.json", ReadText(Folder("gpt2") + "/tokenizer.json"));
  EXPECT_THAT(Templates(folder.path()), IsEmpty());
  folder.Write("tokenizer_config.json", R"({"chat_template": "one"})");
  EXPECT_THAT(Templates(folder.path()), ElementsAre("default=one"));
  folder.Write("tokenizer_config.json",
               R"({"chat_template": [{"name": "tool_use", "template": "t"},
                                     {"name": "default", "template": "two"}]})");
  EXPECT_THAT(Templates(folder.path()), ElementsAre("tool_use=t", "default=two"));
  folder.Write("chat_template.jinja", "three");
  EXPECT_THAT(Templates(folder.path()), ElementsAre("default=three"));
  folder.Write("additional_chat_templates/rag.jinja", "four");
  folder.Write("additional_chat_templates/README.md", "not a template");
  EXPECT_THAT(Templates(folder.path()), ElementsAre("default=three", "rag=four"));
}

TEST(TokenizerTest, RefusesTemplateListOfAnotherForm) {
  TempDir folder;
  folder.Write("tokenizer.json", ReadText(Folder("gpt2") + "/tokenizer.json"));
  for (const char* value : {"5", "{}", R"(["x"])", R"([{"name": "default"}])"}) {
    folder.Write("tokenizer_config.json", std::string(R"({"chat_template": )") + value + "}");
    EXPECT_THAT(std::string(Tokenizer::Load(folder.path()).status().message()),
                HasSubstr("tokenizer_config.json $.chat_template: expected"))
        << value;
  }
}

// The ids are those that transformers gives (folder_reference_test compares many such files).
TEST(TokenizerTest, TakesAddedTokensFromTheConfiguration) {
  TempDir folder;
  folder.Write("tokenizer.json", ReadText(Folder("gpt2") + "/tokenizer.json"));
  const auto free_id = static_cast<int32_t>((*Tokenizer::Load(folder.path()))->vocab_size());
  folder.Write("tokenizer_config.json",
               R"({"added_tokens_decoder": {"9000000": {"content": "<|new|>", "special": true}}})");
  const auto tokenizer = Tokenizer::Load(folder.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(Ids(**tokenizer, "<|new|>"), std::vector<int32_t>{free_id});
  EXPECT_TRUE((*tokenizer)->IsSpecial(free_id));
  EXPECT_EQ((*tokenizer)->vocab_size(), free_id + 1);
  folder.Write("tokenizer_config.json", R"({"added_tokens_decoder": {"9": {"special": true}}})");
  EXPECT_THAT(std::string(Tokenizer::Load(folder.path()).status().message()),
              HasSubstr("$.added_tokens_decoder[\"9\"]: expected a token id"));
}

TEST(TokenizerTest, GivesSpecialTokenOutsideTheVocabularyTheNextId) {
  TempDir folder;
  folder.Write("tokenizer.json", ReadText(Folder("gpt2") + "/tokenizer.json"));
  const auto free_id = static_cast<int32_t>((*Tokenizer::Load(folder.path()))->vocab_size());
  folder.Write("tokenizer_config.json",
               R"({"pad_token": "[FILL]", "unk_token": null, "sound_token": "<sound>"})");
  const auto tokenizer = Tokenizer::Load(folder.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->pad_id(), free_id);
  EXPECT_EQ((*tokenizer)->unk_id(), std::nullopt);
  EXPECT_THAT((*tokenizer)->named_tokens(),
              ElementsAre(Pair("pad_token", "[FILL]"), Pair("sound_token", "<sound>")));
  EXPECT_EQ(Ids(**tokenizer, "<sound>[FILL]"), (std::vector<int32_t>{free_id + 1, free_id}));
}

TEST(TokenizerTest, ReadsOddNumbersInUnusedKeys) {
  TempDir folder;
  std::string file = ReadText(Folder("gpt2") + "/tokenizer.json");
  file.insert(file.find('{') + 1, R"("x_scores": [NaN, 1e400, 123456789012345678901],)");
  folder.Write("tokenizer.json", file);
  folder.Write("tokenizer_config.json",
               R"({"model_max_length": 1000000000000000019884624838656, "x": [-Infinity, 2e999],
                   "chat_template": "one"})");
  folder.Write("special_tokens_map.json", R"({"x": NaN})");
  const auto tokenizer = Tokenizer::Load(folder.path());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(Templates(folder.path()), ElementsAre("default=one"));
  EXPECT_EQ(Ids(**tokenizer, "Hello"), Ids(*LoadFamily("gpt2"), "Hello"));
}

TEST(TokenizerTest, NamesTheUsedKeyThatIsAnOddNumber) {
  TempDir folder;
  std::string file = ReadText(Folder("gpt2") + "/tokenizer.json");
  folder.Write("tokenizer.json", file);
  folder.Write("tokenizer.json", "");
  EXPECT_THAT(std::string(Tokenizer::Load(folder.path()).status().message()),
              HasSubstr("tokenizer.json: the file is empty; download it again"));
  folder.Write("tokenizer.json", file.substr(0, file.size() / 2));
  EXPECT_THAT(std::string(Tokenizer::Load(folder.path()).status().message()),
              HasSubstr("; download the file again, or repair it"));
  folder.Write("tokenizer.json", file);
  folder.Write("tokenizer_config.json", R"({"chat_template": NaN})");
  EXPECT_THAT(std::string(Tokenizer::Load(folder.path()).status().message()),
              HasSubstr("/tokenizer_config.json $.chat_template"));
  folder.Write("tokenizer_config.json", "{\n\"a\": 1e999,\n\"b\": x}");
  EXPECT_THAT(std::string(Tokenizer::Load(folder.path()).status().message()),
              HasSubstr("/tokenizer_config.json: line 3, column 6: syntax error"));
  folder.Write("tokenizer_config.json", "{}");
  folder.Write("tokenizer.json",
               R"({"model": {"type": "BPE", "dropout": NaN, "vocab": {}, "merges": []}})");
  EXPECT_THAT(std::string(Tokenizer::Load(folder.path()).status().message()),
              HasSubstr("$.model.dropout"));
  folder.Write("tokenizer.json",
               R"({"model": {"type": "BPE", "vocab": {"a": 1e999}, "merges": []}})");
  EXPECT_THAT(std::string(Tokenizer::Load(folder.path()).status().message()),
              HasSubstr("$.model.vocab"));
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
