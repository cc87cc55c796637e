// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/bpe/word_cache.h"

#include <algorithm>
#include <string>
#include <vector>

#include "gmock/gmock.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// The key of a word that lies at the very end of what may be read.
WordCache::Key KeyOf(const std::string& word) {
  const std::vector<char> exact(word.begin(), word.end());
  return WordCache::KeyOf({exact.data(), exact.size()}, exact.data() + exact.size());
}

std::vector<BpeSymbol> Halves(const std::string& word, int32_t id) {
  const auto size = static_cast<uint32_t>(word.size());
  return {{id, 0, size / 2}, {id + 1, size / 2, size}};
}

std::vector<int32_t> Find(WordCache* cache, const std::string& word) {
  TokenSink sink;
  if (!cache->Find(KeyOf(word), /*offset=*/100, &sink)) return {};
  EXPECT_EQ(sink.begin.front(), 100u);
  EXPECT_EQ(sink.end.back(), 100u + word.size());
  for (size_t i = 1; i < sink.ids.size(); ++i) EXPECT_EQ(sink.begin[i], sink.end[i - 1]);
  return sink.ids;
}

// Words that differ in one byte, in size or in zeros behind them alone.
TEST(WordCacheTest, TellsWordsOfAllSizesApart) {
  WordCache cache;
  std::vector<std::string> words;
  for (size_t size = 2; size <= WordCache::kMaxBytes; ++size) {
    for (const size_t changed : {size_t{0}, size / 2, size - 1}) {
      for (const char c : {'a', 'b', '\0'}) {
        std::string word(size, 'a');
        word[changed] = c;
        words.push_back(word);
      }
    }
  }
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  size_t found = 0;
  for (size_t i = 0; i < words.size(); ++i) {
    EXPECT_THAT(Find(&cache, words[i]), IsEmpty()) << i;
    const auto id = static_cast<int32_t>(2 * i);
    cache.Insert(KeyOf(words[i]), Halves(words[i], id));
    EXPECT_THAT(Find(&cache, words[i]), ElementsAre(id, id + 1)) << i;
  }
  for (size_t i = 0; i < words.size(); ++i) {
    const std::vector<int32_t> ids = Find(&cache, words[i]);
    if (ids.empty()) continue;  // two others have its set
    ++found;
    EXPECT_EQ(ids.front(), static_cast<int32_t>(2 * i));
  }
  EXPECT_GT(found, words.size() * 9 / 10);
}

TEST(WordCacheTest, AKeyDoesNotDependOnWhatStandsBehindTheWord) {
  const std::string text = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
  for (size_t size = 1; size <= WordCache::kMaxBytes; ++size) {
    const std::string word = text.substr(0, size);
    const WordCache::Key inside =
        WordCache::KeyOf(std::string_view(text).substr(0, size), text.data() + text.size());
    const WordCache::Key alone = KeyOf(word);
    EXPECT_EQ(inside.hash, alone.hash) << size;
    EXPECT_TRUE(std::equal(inside.bytes, std::end(inside.bytes), alone.bytes)) << size;
  }
}

TEST(WordCacheTest, KeepsOnlyWhatItCanGiveBack) {
  WordCache cache;
  const auto kept = [&](const std::string& word, const std::vector<BpeSymbol>& tokens) {
    cache.Insert(KeyOf(word), tokens);
    return !Find(&cache, word).empty();
  };
  EXPECT_FALSE(kept("none", {}));
  EXPECT_FALSE(kept("gap1", {{1, 0, 2}, {2, 3, 4}})) << "a byte in between is in no token";
  EXPECT_FALSE(kept("gap2", {{1, 1, 4}})) << "the first byte is in no token";
  EXPECT_FALSE(kept("gap3", {{1, 0, 3}})) << "the last byte is in no token";
  EXPECT_TRUE(kept("abc", {{1, 0, 1}, {2, 1, 2}, {3, 2, 3}}));
  EXPECT_FALSE(kept("abcd", {{1, 0, 1}, {2, 1, 2}, {3, 2, 3}, {4, 3, 4}})) << "too many";
  std::vector<BpeSymbol> tokens;
  for (uint32_t i = 0; i < 6; ++i) tokens.push_back({static_cast<int32_t>(i), 3 * i, 3 * i + 3});
  EXPECT_TRUE(kept(std::string(18, 'x'), tokens));
  tokens.push_back({6, 18, 19});
  EXPECT_FALSE(kept(std::string(19, 'x'), tokens)) << "too many for a long word";
}

// Three words of one set: the one that was met twice stays, whichever others come.
TEST(WordCacheTest, AWordThatIsMetAgainOutlivesNewcomers) {
  for (const size_t size : {size_t{8}, size_t{24}}) {
    WordCache cache;
    // More words than there are entries: every set is full many times over.
    const auto word = [&](int i) {
      std::string text = std::to_string(i);
      return text + std::string(size - text.size(), '-');
    };
    constexpr int kUsed = 7;
    cache.Insert(KeyOf(word(kUsed)), Halves(word(kUsed), kUsed));
    for (int i = 1000; i < 400000; ++i) {
      if (i % 1000 == 0) {
        ASSERT_THAT(Find(&cache, word(kUsed)), ElementsAre(kUsed, kUsed + 1)) << i;
      }
      cache.Insert(KeyOf(word(i)), Halves(word(i), i));
    }
  }
}

}  // namespace
}  // namespace trainerd::engine
