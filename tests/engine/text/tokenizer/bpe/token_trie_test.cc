// SPDX-License-Identifier: Apache-2.0
// Against trying every token: tokens that begin and end within characters, texts of characters of
// one to four bytes that begin within one.
#include "engine/text/tokenizer/bpe/token_trie.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>

#include "proto/base/utf8.h"

namespace trainerd::engine {
namespace {

constexpr uint32_t kFirst[] = {'a', 0x80, 0x430, 0x7FF, 0x800, 0x4E00, 0xFFFD, 0x10000, 0x1F600};

std::string RandomText(std::mt19937& random, int max_characters) {
  std::string text;
  for (int n = 1 + static_cast<int>(random() % static_cast<uint32_t>(max_characters)); n > 0; --n) {
    AppendUtf8(kFirst[random() % std::size(kFirst)] + random() % 3, &text);
  }
  return text;
}

class TokenTrieTest : public ::testing::Test {
 protected:
  // Random pieces of texts; every third one is cut at any byte. Some ids are not in the trie.
  void MakeTokens(std::mt19937& random, size_t count) {
    std::set<std::string> seen;
    bytes_.assign(count, "");
    for (size_t id = 0; id < count; ++id) {
      std::string token = RandomText(random, 4);
      if (random() % 3 == 0) token = token.substr(random() % token.size());
      if (random() % 3 == 0) token.resize(1 + random() % token.size());
      if (random() % 10 != 0 && seen.insert(token).second) bytes_[id] = token;
    }
    trie_ =
        std::make_unique<TokenTrie>(std::vector<std::string_view>(bytes_.begin(), bytes_.end()));
  }
  // The longest token other than `text` itself (if `proper`) that `text` begins with.
  int32_t Longest(std::string_view text, bool proper) const {
    int32_t best = TokenTrie::kNone;
    size_t longest = 0;
    for (size_t id = 0; id < bytes_.size(); ++id) {
      const std::string& token = bytes_[id];
      if (token.size() <= longest || text.substr(0, token.size()) != token) continue;
      if (proper && token.size() == text.size()) continue;
      best = static_cast<int32_t>(id);
      longest = token.size();
    }
    return best;
  }
  std::vector<std::string> bytes_;
  std::unique_ptr<TokenTrie> trie_;
};

TEST_F(TokenTrieTest, FindsWhatTryingEveryTokenFinds) {
  std::mt19937 random(7);
  int found = 0, nothing = 0;
  for (int round = 0; round < 60; ++round) {
    MakeTokens(random, 3 + random() % 300);
    for (int i = 0; i < 300; ++i) {
      std::string text = RandomText(random, 8);
      text = text.substr(random() % text.size());
      const int32_t want = Longest(text, /*proper=*/false);
      const TokenTrie::Match match = trie_->Longest(text.data(), text.size());
      ASSERT_EQ(match.id, want) << "round " << round;
      ASSERT_EQ(match.size, want < 0 ? 0 : bytes_[static_cast<size_t>(want)].size());
      (want == TokenTrie::kNone ? nothing : found) += 1;
    }
    for (size_t id = 0; id < bytes_.size(); ++id) {
      if (bytes_[id].empty()) continue;
      ASSERT_EQ(trie_->Shorter(static_cast<int32_t>(id)), Longest(bytes_[id], /*proper=*/true))
          << "round " << round << ", token " << id;
    }
  }
  EXPECT_GT(found, 1000);
  EXPECT_GT(nothing, 1000);
}

TEST_F(TokenTrieTest, BytesThatAreNoCharacterAreNotTakenForOne) {
  // Overlong forms of 'a' and of NUL, a surrogate, a lead byte before a letter.
  bytes_ = {"a",
            std::string(1, '\0'),
            "\xC1\xA1",
            "\xE0\x81\xA1",
            "\xED\xA0\x80",
            "\xE6"
            "a",
            "\xE6\x98",
            "\xE6"};
  trie_ = std::make_unique<TokenTrie>(std::vector<std::string_view>(bytes_.begin(), bytes_.end()));
  EXPECT_EQ(trie_->Longest("ab", 2).id, 0);
  EXPECT_EQ(trie_->Longest("\0b", 2).id, 1);
  EXPECT_EQ(trie_->Longest("\xE6\x98\xAF", 3).id, 6) << "a part of a character that is no token";
  EXPECT_EQ(trie_->Longest("\xE6\x97\xA5", 3).id, 7);
  EXPECT_EQ(trie_->Shorter(5), 7);
}

}  // namespace
}  // namespace trainerd::engine
