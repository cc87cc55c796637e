// SPDX-License-Identifier: Apache-2.0
// Tokens are bytes of UTF-8 here, so that the right cuts can be seen: a token may hold a part of a
// character, several characters, or the end of one and the beginning of the next. The decoder
// replaces what is no UTF-8 by U+FFFD, as that of trainerd-inspect does.
#include "client/preview/token_texts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace trainerd::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

size_t LengthByLead(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xf0 && lead < 0xf5) return 4;
  if (lead >= 0xe0 && lead < 0xf0) return 3;
  return lead >= 0xc2 && lead < 0xe0 ? 2 : 0;
}

// Each longest beginning of a character that does not go on is one U+FFFD. (Over-long forms and
// surrogates do not occur in these tests.)
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

// Token id = place in `tokens`.
struct FakeTokenizer {
  std::vector<std::string> tokens;
  int calls = 0;

  DecodeTokens Decoder() {
    return [this](const std::vector<std::vector<int64_t>>& lists)
               -> absl::StatusOr<std::vector<DecodedTokens>> {
      ++calls;
      std::vector<DecodedTokens> decoded;
      for (const std::vector<int64_t>& ids : lists) decoded.push_back({.text = Text(ids)});
      return decoded;
    };
  }
  std::string Text(const std::vector<int64_t>& ids) const {
    std::string bytes;
    for (const int64_t id : ids) bytes += tokens[static_cast<size_t>(id)];
    return Lossy(bytes);
  }
  std::vector<int64_t> All() const {
    std::vector<int64_t> ids;
    for (size_t i = 0; i < tokens.size(); ++i) ids.push_back(static_cast<int64_t>(i));
    return ids;
  }
};

std::vector<std::string> Parts(const std::vector<std::string>& tokens) {
  FakeTokenizer tokenizer{.tokens = tokens};
  const auto lists = SplitIntoTexts({tokenizer.All()}, tokenizer.Decoder());
  EXPECT_TRUE(lists.ok()) << lists.status();
  std::vector<std::string> texts;
  for (const TokenText& part : lists->at(0)) texts.push_back(part.decoded.text);
  return texts;
}

TEST(TokenTextsTest, AWholeTokenStandsForItself) {
  EXPECT_THAT(Parts({"a", "b\xC3\xA9", "\n", " c"}), ElementsAre("a", "bé", "\n", " c"));
  FakeTokenizer tokenizer{.tokens = {"a", "b"}};
  const auto lists = SplitIntoTexts({{0, 1, 0, 0}, {}, {1}}, tokenizer.Decoder());
  ASSERT_TRUE(lists.ok()) << lists.status();
  EXPECT_EQ((*lists)[0].size(), 4u);
  EXPECT_TRUE((*lists)[1].empty());
  EXPECT_EQ((*lists)[2].size(), 1u);
  EXPECT_EQ(tokenizer.calls, 1) << "nothing is in doubt";
}

TEST(TokenTextsTest, TheTokensOfACharacterStayTogether) {
  EXPECT_THAT(Parts({"x", "\xC3", "\xA9", "y"}), ElementsAre("x", "é", "y"));
  // The emoji U+1F600, with a letter and a space in its first token, twice in a row.
  EXPECT_THAT(Parts({"a \xF0\x9F", "\x98", "\x80", "\xF0\x9F\x98", "\x80."}),
              ElementsAre("a 😀", "😀."));
  // Three characters, no token of which begins and ends whole.
  EXPECT_THAT(Parts({"\xE4", "\xBD\xA0\xE5", "\xA5\xBD\xE4", "\xBD\xA0"}), ElementsAre("你好你"));
}

TEST(TokenTextsTest, CharactersOfSeveralTokensSideBySideAreApart) {
  EXPECT_THAT(Parts({"\xE4", "\xBD", "\xA0", "\xE5", "\xA5", "\xBD"}), ElementsAre("你", "好"));
}

TEST(TokenTextsTest, BytesThatAreNoCharacterStayWhereTheyAre) {
  EXPECT_THAT(Parts({"\xA9", "x"}), ElementsAre("\xEF\xBF\xBD", "x"));
  // U+FFFD in the text itself, beside a half character that never ends.
  EXPECT_THAT(Parts({"\xEF\xBF\xBD", "\xE4", "\xEF\xBF\xBD"}),
              ElementsAre("\xEF\xBF\xBD", "\xEF\xBF\xBD", "\xEF\xBF\xBD"));
  // Cut by max_length.
  EXPECT_THAT(Parts({"a", "\xE4", "\xBD"}), ElementsAre("a", "\xEF\xBF\xBD"));
}

TEST(TokenTextsTest, TheJoinedPartsAreTheTextHoweverItIsCut) {
  std::mt19937 random(7);
  const std::string text = "aé你\xEF\xBF\xBD😀 \u202eñ好\n😀😀你你x";
  for (int round = 0; round < 300; ++round) {
    FakeTokenizer tokenizer;
    std::string bytes = text;
    // Every third text is damaged in one place.
    if (round % 3 == 0) bytes.erase(random() % bytes.size(), 1);
    for (size_t at = 0; at < bytes.size();) {
      const size_t size = 1 + random() % 5;
      tokenizer.tokens.push_back(bytes.substr(at, size));
      at += size;
    }
    const std::vector<int64_t> ids = tokenizer.All();
    const auto lists = SplitIntoTexts({ids}, tokenizer.Decoder());
    ASSERT_TRUE(lists.ok()) << lists.status();
    std::string joined;
    size_t next = 0;
    for (const TokenText& part : (*lists)[0]) {
      EXPECT_EQ(part.begin, next);
      EXPECT_LT(part.begin, part.end);
      next = part.end;
      joined += part.decoded.text;
    }
    EXPECT_EQ(next, ids.size());
    EXPECT_EQ(joined, tokenizer.Text(ids)) << "round " << round;
    EXPECT_LE(tokenizer.calls, 3);
  }
}

TEST(TokenTextsTest, AnAnswerOfAnotherSizeIsAnError) {
  const DecodeTokens none = [](const std::vector<std::vector<int64_t>>&) {
    return std::vector<DecodedTokens>{};
  };
  EXPECT_THAT(std::string(SplitIntoTexts({{1}}, none).status().message()),
              HasSubstr("0 texts for 1 rows"));
}

}  // namespace
}  // namespace trainerd::client
