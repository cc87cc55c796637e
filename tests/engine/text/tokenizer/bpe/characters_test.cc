// SPDX-License-Identifier: Apache-2.0
// Expected by hand from the rules of the reference; sentencepiece_reference_test compares with it.
#include "engine/text/tokenizer/bpe/characters.h"

#include <algorithm>
#include <string>

#include "engine/text/tokenizer/bpe/bpe.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;

// Tokens of the letters a, b and é, of a space (4), and of the bytes from 100 on.
Characters::Options Letters() {
  Characters::Options options;
  options.ids = {{'a', 1}, {'b', 2}, {0xE9, 3}, {' ', 4}};
  for (int32_t byte = 0; byte < 256; ++byte) {
    options.byte_ids[static_cast<size_t>(byte)] = 100 + byte;
  }
  options.space_symbol = "▁";
  return options;
}

std::vector<std::string> Split(const Characters::Options& options, std::string_view word) {
  std::vector<BpeSymbol> symbols;
  Characters(options).Split(word, &symbols);
  std::vector<std::string> texts;
  for (const BpeSymbol& s : symbols) {
    texts.push_back(std::to_string(s.id) + ":" + std::to_string(s.begin) + "-" +
                    std::to_string(s.end));
  }
  return texts;
}

std::vector<uint32_t> Cuts(const Characters::Options& options, std::string_view text) {
  std::vector<uint32_t> ends;
  Characters(options).CutWords(text, 0, static_cast<uint32_t>(text.size()), &ends);
  return ends;
}

TEST(CharactersTest, SpellsAnUnknownCharacterInBytes) {
  EXPECT_THAT(Split(Letters(), "aé€b"),
              ElementsAre("1:0-1", "3:1-3", "326:3-6", "230:3-6", "272:3-6", "2:6-7"));
  Characters::Options no_space = Letters();
  no_space.ids.pop_back();
  EXPECT_THAT(Split(no_space, "a b"),
              ElementsAre("1:0-1", "326:1-2", "250:1-2", "229:1-2", "2:2-3"))
      << "the bytes of the space symbol";
}

TEST(CharactersTest, ReplacesUnknownCharactersWhereBytesAreMissing) {
  Characters::Options options = Letters();
  options.byte_ids['x'] = options.byte_ids['y'] = Characters::kNoToken;
  EXPECT_THAT(Split(options, "axyb"), ElementsAre("1:0-1", "2:3-4")) << "dropped";
  options.unk = 9;
  EXPECT_THAT(Split(options, "axyb"), ElementsAre("1:0-1", "9:1-2", "9:2-3", "2:3-4"));
  options.fuse_unk = true;
  EXPECT_THAT(Split(options, "axyb"), ElementsAre("1:0-1", "9:1-3", "2:3-4"));
  // As in the reference, a byte that has a token does not end the unknown characters.
  EXPECT_THAT(Split(options, "x\ny"), ElementsAre("110:0-1", "9:1-3"));
}

TEST(CharactersTest, CutsWhereNoTokenJoinsTheCharacters) {
  Characters::Options options = Letters();
  options.merged = {" a", "ab", "bé"};
  EXPECT_THAT(Cuts(options, "ab abéa b"), ElementsAre(2, 7, 8, 9, 10));
  EXPECT_THAT(Cuts(options, ""), ElementsAre(0));
  options.whole_words = true;
  EXPECT_THAT(Cuts(options, "ab ab"), ElementsAre(5));
}

TEST(CharactersTest, KeepsUnknownCharactersTogetherWhereOneTokenReplacesThem) {
  Characters::Options options = Letters();
  options.byte_ids.fill(Characters::kNoToken);
  options.unk = 9;
  EXPECT_THAT(Cuts(options, "axyzb"), ElementsAre(4, 5));
}

// A text without spaces, whose merges are not in order, so that it is merged step by step. An
// algorithm that is quadratic would not end.
TEST(CharactersTest, MergesALongWordInTime) {
  Bpe::Options options;
  options.token_bytes = {"a", "b", "ab", "abab", "ababab"};
  // The second merge is ranked before the one that makes its parts.
  options.merges = {{3, 2, 4}, {2, 2, 3}, {0, 1, 2}};
  options.byte_ids.assign(256, Bpe::kNoToken);
  Characters::Options characters;
  characters.ids = {{'a', 0}, {'b', 1}};
  characters.byte_ids.fill(Characters::kNoToken);
  for (const Bpe::Merge& merge : options.merges) {
    characters.merged.push_back(options.token_bytes[static_cast<size_t>(merge.merged)]);
  }
  options.characters = characters;
  const Bpe bpe(options);
  std::string text;
  for (int i = 0; i < 300'000; ++i) text += "ab";
  Bpe::Scratch scratch;
  TokenSink sink;
  bpe.EncodeWords(text, 0, {static_cast<uint32_t>(text.size())}, &scratch, &sink);
  EXPECT_EQ(sink.ids.size(), 100'000u);
  EXPECT_EQ(std::count(sink.ids.begin(), sink.ids.end(), 4), 100'000);
}

}  // namespace
}  // namespace trainerd::engine
