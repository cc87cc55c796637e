// SPDX-License-Identifier: Apache-2.0
// Properties over random texts, ids and conversations. A failure prints the RC_PARAMS that repeat
// it.
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/text/chat_template.h"
#include "engine/text/target_spans.h"
#include "engine/text/tokenizer/bpe/byte_level.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "gtest/gtest.h"
#include "proto/base/utf8.h"
#include "rapidcheck.h"
#include "tests/engine/text/random_text.h"

namespace trainerd::engine {
namespace {

using ::trainerd::testing::RandomText;
using Json = nlohmann::ordered_json;

// More cases than rapidcheck's 100, unless RC_PARAMS says how many, or which one to repeat. It is
// read when the first property is checked.
const int kMoreCases = setenv("RC_PARAMS", "max_success=1000", /*overwrite=*/0);

const Tokenizer& TestTokenizer(const std::string& family) {
  static auto* const tokenizers = new std::map<std::string, std::unique_ptr<Tokenizer>>;
  auto& tokenizer = (*tokenizers)[family];
  if (tokenizer == nullptr) {
    tokenizer = *Tokenizer::Load(TRAINERD_SOURCE_DIR + "/tests/golden/text/tokenizers/" + family);
  }
  return *tokenizer;
}

// The text of `ids`, token by token; no piece may end within a character.
std::string Streamed(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  DecodeStream stream(tokenizer);
  std::string text;
  for (const int32_t id : ids) {
    std::string earlier, piece;
    stream.Append(id, &earlier, &piece);
    RC_ASSERT(FindInvalidUtf8(earlier) == std::string::npos);
    RC_ASSERT(FindInvalidUtf8(piece) == std::string::npos);
    text += earlier + piece;
  }
  stream.Finish(&text);
  return text;
}

class PropertiesTest : public ::testing::TestWithParam<const char*> {};

TEST_P(PropertiesTest, StreamsWhatDecodingAllAtOnceGives) {
  const Tokenizer& tokenizer = TestTokenizer(GetParam());
  EXPECT_TRUE(rc::check("stream of ids in use", [&] {
    const auto ids = *rc::gen::container<std::vector<int32_t>>(
        rc::gen::inRange<int32_t>(0, static_cast<int32_t>(tokenizer.vocab_size())));
    RC_ASSERT(Streamed(tokenizer, ids) == tokenizer.Decode(ids));
  }));
  EXPECT_TRUE(rc::check("stream of any ids", [&] {
    const auto ids = *rc::gen::container<std::vector<int32_t>>(
        rc::gen::oneOf(rc::gen::arbitrary<int32_t>(), rc::gen::inRange<int32_t>(-300, 1000)));
    RC_ASSERT(Streamed(tokenizer, ids) == tokenizer.Decode(ids));
  }));
}

TEST_P(PropertiesTest, StreamsATextWhateverItsTokens) {
  const Tokenizer& tokenizer = TestTokenizer(GetParam());
  EXPECT_TRUE(rc::check("stream of a text", [&] {
    const std::string text = *RandomText();
    Encoding encoding;
    RC_ASSERT(tokenizer.Encode(text, &encoding).ok());
    RC_ASSERT(Streamed(tokenizer, encoding.ids) == tokenizer.Decode(encoding.ids));
    // The same text cut anywhere, so that characters are split between tokens of single bytes.
    std::vector<int32_t> ids;
    for (size_t begin = 0; begin < text.size();) {
      const size_t size = *rc::gen::inRange<size_t>(1, 9);
      const std::string piece = text.substr(begin, size);
      begin += size;
      if (FindInvalidUtf8(piece) == std::string::npos) {
        RC_ASSERT(tokenizer.Encode(piece, &encoding).ok());
        ids.insert(ids.end(), encoding.ids.begin(), encoding.ids.end());
        continue;
      }
      for (const char c : piece) {
        std::string symbol;
        AppendUtf8(ByteSymbol(static_cast<uint8_t>(c)), &symbol);
        ids.push_back(*tokenizer.TokenToId(symbol));
      }
    }
    RC_ASSERT(Streamed(tokenizer, ids) == tokenizer.Decode(ids));
  }));
}

INSTANTIATE_TEST_SUITE_P(Families, PropertiesTest, ::testing::Values("qwen3", "llama3", "gpt2"));

TEST(TargetSpansPropertiesTest, AnswersAreTrainedByteForByteWhateverTheySpell) {
  const Tokenizer& tokenizer = TestTokenizer("qwen3");
  const auto chat_template = *ChatTemplate::FromSource(ChatTemplate::ChatMlSource(), tokenizer);
  EXPECT_TRUE(rc::check("spans of ChatML", [&] {
    Json messages = Json::array();
    std::string text;
    std::vector<std::string> answers;
    std::vector<uint32_t> begins;
    const int turns = *rc::gen::inRange(1, 7);
    for (int i = 0; i < 2 * turns; ++i) {
      const std::string content = *RandomText();
      const std::string role = i % 2 == 1 ? "assistant" : i == 0 && turns > 3 ? "system" : "user";
      messages.push_back({{"role", role}, {"content", content}});
      text += "<|im_start|>" + role + "\n";
      if (role == "assistant") {
        begins.push_back(static_cast<uint32_t>(text.size()));
        answers.push_back(content + "<|im_end|>");
      }
      text += content + "<|im_end|>\n";
    }
    const auto rendered = chat_template->Render(messages, {});
    RC_ASSERT(rendered.ok());
    RC_ASSERT(rendered->text == text);
    const auto spans =
        TargetSpans(*chat_template, *rendered, messages, {}, tokenizer, TrainOn::kAssistant);
    RC_ASSERT(spans.ok());
    RC_ASSERT(spans->size() == answers.size());
    for (size_t i = 0; i < answers.size(); ++i) {
      RC_ASSERT((*spans)[i].begin == begins[i]);
      RC_ASSERT((*spans)[i].end == begins[i] + answers[i].size());
    }
    const auto last =
        TargetSpans(*chat_template, *rendered, messages, {}, tokenizer, TrainOn::kLastAssistant);
    RC_ASSERT(last.ok());
    RC_ASSERT(last->size() == 1u);
    RC_ASSERT(last->front().begin == begins.back());
  }));
}

}  // namespace
}  // namespace trainerd::engine
