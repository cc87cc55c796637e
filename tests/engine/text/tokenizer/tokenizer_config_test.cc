// SPDX-License-Identifier: Apache-2.0
// What tokenizer_config.json and the other files beside tokenizer.json add.
#include "engine/text/tokenizer/tokenizer_config.h"

#include "gmock/gmock.h"
#include "tests/engine/text/tokenizer/golden_families.h"
#include "tests/engine/text/tokenizer/reference_compare.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::trainerd::testing::ReadText;

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

}  // namespace
}  // namespace trainerd::engine
