// SPDX-License-Identifier: Apache-2.0
// Tokens are the bytes written here: a token may hold a part of a character, several characters, or
// the end of one and the beginning of the next. The expected text replaces invalid UTF-8 by U+FFFD
// with code of its own.
#include "engine/cli/inspect/token_texts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;

size_t LengthByLead(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xf0 && lead < 0xf5) return 4;
  if (lead >= 0xe0 && lead < 0xf0) return 3;
  return lead >= 0xc2 && lead < 0xe0 ? 2 : 0;
}

// Each maximal incomplete character is one U+FFFD. (Overlong forms and surrogates do not occur in
// these tests.)
std::string Lossy(const std::string& bytes) {
  std::string text;
  for (size_t i = 0; i < bytes.size();) {
    const size_t length = LengthByLead(static_cast<unsigned char>(bytes[i]));
    size_t got = 1;
    while (length > got && i + got < bytes.size() &&
           (static_cast<unsigned char>(bytes[i + got]) & 0xc0) == 0x80)
      ++got;
    text += length == got && length > 0 ? bytes.substr(i, got) : "\xEF\xBF\xBD";
    i += got;
  }
  return text;
}

std::vector<TokenText> Split(const std::vector<std::string>& tokens) {
  const TokenDecoder byte_level;
  return SplitStream(absl::MakeConstSpan(tokens), TokenDecoder::Stream(byte_level));
}

std::vector<std::string> Parts(const std::vector<std::string>& tokens) {
  std::vector<std::string> texts;
  for (const TokenText& part : Split(tokens)) texts.push_back(part.text);
  return texts;
}

TEST(TokenTextsTest, KeepsWholeTokensApart) {
  EXPECT_THAT(Parts({"a", "b\xC3\xA9", "\n", " c"}), ElementsAre("a", "bé", "\n", " c"));
  EXPECT_TRUE(Parts({}).empty());
}

TEST(TokenTextsTest, JoinsTheTokensOfACharacter) {
  EXPECT_THAT(Parts({"x", "\xC3", "\xA9", "y"}), ElementsAre("x", "é", "y"));
  // The emoji U+1F600, with a letter and a space in its first token, twice in a row.
  EXPECT_THAT(Parts({"a \xF0\x9F", "\x98", "\x80", "\xF0\x9F\x98", "\x80."}),
              ElementsAre("a 😀", "😀."));
  // Three characters, no token of which begins and ends whole.
  EXPECT_THAT(Parts({"\xE4", "\xBD\xA0\xE5", "\xA5\xBD\xE4", "\xBD\xA0"}), ElementsAre("你好你"));
}

TEST(TokenTextsTest, SeparatesAdjacentCharactersOfSeveralTokens) {
  EXPECT_THAT(Parts({"\xE4", "\xBD", "\xA0", "\xE5", "\xA5", "\xBD"}), ElementsAre("你", "好"));
}

TEST(TokenTextsTest, KeepsInvalidBytesWhereTheyAre) {
  EXPECT_THAT(Parts({"\xA9", "x"}), ElementsAre("\xEF\xBF\xBD", "x"));
  // U+FFFD in the text itself, beside a half character that never ends.
  EXPECT_THAT(Parts({"\xEF\xBF\xBD", "\xE4", "\xEF\xBF\xBD"}),
              ElementsAre("\xEF\xBF\xBD", "\xEF\xBF\xBD", "\xEF\xBF\xBD"));
  // Cut by max_length.
  EXPECT_THAT(Parts({"a", "\xE4", "\xBD"}), ElementsAre("a", "\xEF\xBF\xBD"));
}

TEST(TokenTextsTest, CoversTheTextWhereverTokensCutIt) {
  std::mt19937 random(7);
  const std::string text = "aé你\xEF\xBF\xBD😀 \u202eñ好\n😀😀你你x";
  for (int round = 0; round < 300; ++round) {
    std::string bytes = text;
    // Every third text is damaged in one place.
    if (round % 3 == 0) bytes.erase(random() % bytes.size(), 1);
    std::vector<std::string> tokens;
    for (size_t at = 0; at < bytes.size();) {
      const size_t size = 1 + random() % 5;
      tokens.push_back(bytes.substr(at, size));
      at += size;
    }
    std::string joined;
    size_t next = 0;
    for (const TokenText& part : Split(tokens)) {
      EXPECT_EQ(part.begin, next);
      EXPECT_LT(part.begin, part.end);
      next = part.end;
      joined += part.text;
    }
    EXPECT_EQ(next, tokens.size());
    EXPECT_EQ(joined, Lossy(bytes)) << "round " << round;
  }
}

TEST(TokenTextsTest, PrintsOneElementPerToken) {
  std::vector<TokenText> texts = Split({"<s>", "\xC3", "\xA9", "\""});
  texts[0].special = true;
  std::string line;
  AppendTokenTexts(texts, &line);
  EXPECT_EQ(line, R"(,"tokens":["<s>","é",null,"\""],"special":[0])");
}

}  // namespace
}  // namespace trainerd::engine
