// SPDX-License-Identifier: Apache-2.0
// Expectations: the definition of byte-pair encoding, written down naively below.
#include "engine/text/tokenizer/bpe/bpe.h"

#include <map>
#include <random>
#include <string>

#include "gtest/gtest.h"

namespace trainerd::engine {
namespace {

// A vocabulary over the letters from 'a' on and its merges.
struct Model {
  std::vector<std::string> tokens;  // by id; the letters come first
  std::vector<Bpe::Merge> merges;
  std::map<std::string, int32_t> ids;

  explicit Model(int letters) {
    for (int i = 0; i < letters; ++i) Add(std::string(1, static_cast<char>('a' + i)));
  }
  int32_t Add(const std::string& token) {
    const auto [it, inserted] = ids.try_emplace(token, static_cast<int32_t>(tokens.size()));
    if (inserted) tokens.push_back(token);
    return it->second;
  }
  void Merge(int32_t left, int32_t right) {
    const std::string joined =
        tokens[static_cast<size_t>(left)] + tokens[static_cast<size_t>(right)];
    merges.push_back({left, right, Add(joined)});
  }
  Bpe::Options Options() const {
    Bpe::Options options;
    options.merges = merges;
    options.byte_ids.resize(256, Bpe::kNoToken);
    for (const auto& [token, id] : ids) {
      if (token.size() == 1) options.byte_ids[static_cast<uint8_t>(token[0])] = id;
    }
    for (const std::string& token : tokens) options.token_bytes.push_back(token);
    return options;
  }

  // Again and again the pair whose merge stands first in the list, the leftmost of equal ones.
  std::vector<int32_t> Naive(const std::string& word) const {
    std::vector<int32_t> symbols;
    for (const char c : word) {
      const auto it = ids.find(std::string(1, c));
      if (it != ids.end()) symbols.push_back(it->second);
    }
    while (true) {
      size_t best_rank = SIZE_MAX, best_at = 0;
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        for (size_t rank = merges.size(); rank-- > 0;) {  // of equal pairs the last counts
          if (merges[rank].left != symbols[i] || merges[rank].right != symbols[i + 1]) continue;
          if (rank < best_rank) {
            best_rank = rank;
            best_at = i;
          }
          break;
        }
      }
      if (best_rank == SIZE_MAX) return symbols;
      symbols[best_at] = merges[best_rank].merged;
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best_at) + 1);
    }
  }
};

std::vector<int32_t> Encode(const Bpe& bpe, const std::string& word, Bpe::Scratch* cache) {
  TokenSink sink;
  const uint32_t end = 100 + static_cast<uint32_t>(word.size());
  bpe.EncodeWords(std::string(100, '?') + word, 100, {end}, cache, &sink);
  uint32_t at = 100;
  for (size_t i = 0; i < sink.ids.size(); ++i) {
    EXPECT_GE(sink.begin[i], at);
    EXPECT_GT(sink.end[i], sink.begin[i]);
    at = sink.end[i];
  }
  EXPECT_LE(at, 100 + word.size());
  return sink.ids;
}

std::string RandomWord(std::mt19937* random, int letters, size_t size) {
  std::string word;
  for (size_t i = 0; i < size; ++i) {
    word.push_back(
        static_cast<char>('a' + static_cast<int>((*random)() % static_cast<unsigned>(letters))));
  }
  return word;
}

void CheckWords(const Model& model, int letters, std::mt19937* random) {
  const Bpe bpe(model.Options());
  Bpe::Scratch cache;
  for (int i = 0; i < 60; ++i) {
    const std::string word = RandomWord(random, letters, 1 + (*random)() % 40);
    const auto expected = model.Naive(word);
    ASSERT_EQ(Encode(bpe, word, &cache), expected) << word;
    ASSERT_EQ(Encode(bpe, word, &cache), expected) << "from the cache: " << word;
  }
  const std::string long_word = RandomWord(random, letters, 300);
  ASSERT_EQ(Encode(bpe, long_word, &cache), model.Naive(long_word)) << long_word;
}

// Merges of what exists already: the order in which training finds them.
TEST(BpeTest, AgreesWithDefinitionForTrainedMerges) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    const int letters = 1 + round % 4;
    Model model(letters);
    for (int i = 0; i < 5 + round % 40; ++i) {
      const auto n = static_cast<unsigned>(model.tokens.size());
      model.Merge(static_cast<int32_t>(random() % n), static_cast<int32_t>(random() % n));
    }
    ASSERT_NO_FATAL_FAILURE(CheckWords(model, letters, &random));
  }
}

// Merges in any order: what is made late may be merged early.
TEST(BpeTest, AgreesWithDefinitionForMergesInAnyOrder) {
  std::mt19937 random(2);
  for (int round = 0; round < 200; ++round) {
    Model model(2 + round % 2);
    for (int i = 0; i < 25; ++i) {
      const auto n = static_cast<unsigned>(model.tokens.size());
      model.Merge(static_cast<int32_t>(random() % n), static_cast<int32_t>(random() % n));
    }
    std::shuffle(model.merges.begin(), model.merges.end(), random);
    ASSERT_NO_FATAL_FAILURE(CheckWords(model, 2 + round % 2, &random));
  }
}

// Every way to split a token is a merge, as in files that were converted from tiktoken.
TEST(BpeTest, AgreesWithDefinitionForEverySplitOfAToken) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    Model model(2);
    for (int i = 0; i < 20; ++i) {
      const auto n = static_cast<unsigned>(model.tokens.size());
      model.Add(model.tokens[random() % n] + model.tokens[random() % n]);
    }
    for (size_t id = 2; id < model.tokens.size(); ++id) {
      const std::string token = model.tokens[id];
      for (size_t cut = 1; cut < token.size(); ++cut) {
        const auto left = model.ids.find(token.substr(0, cut));
        const auto right = model.ids.find(token.substr(cut));
        if (left != model.ids.end() && right != model.ids.end()) {
          model.Merge(left->second, right->second);
        }
      }
    }
    ASSERT_NO_FATAL_FAILURE(CheckWords(model, 2, &random));
  }
}

TEST(BpeTest, DropsOrReplacesBytesWithoutToken) {
  Model model(2);
  model.Merge(0, 1);  // ab
  Bpe::Options options = model.Options();
  Bpe::Scratch cache;
  EXPECT_EQ(Encode(Bpe(options), "aXb", &cache),
            std::vector<int32_t>{2});  // X is dropped: a and b are adjacent
  options.unk = 0;
  Bpe::Scratch other_cache;
  EXPECT_EQ(Encode(Bpe(options), "aXXb", &other_cache), (std::vector<int32_t>{0, 0, 2}));
  options.fuse_unk = true;
  Bpe::Scratch third_cache;
  EXPECT_EQ(Encode(Bpe(options), "bXXb", &third_cache), (std::vector<int32_t>{1, 2}));
}

TEST(BpeTest, IgnoreMergesKeepsWholeWords) {
  Model model(2);
  const int32_t abba = model.Add("abba");
  Bpe::Options options = model.Options();
  options.ignore_merges = true;
  options.whole_words["abba"] = abba;
  Bpe::Scratch cache;
  EXPECT_EQ(Encode(Bpe(options), "abba", &cache), std::vector<int32_t>{abba});
  EXPECT_EQ(Encode(Bpe(options), "abbab", &cache), (std::vector<int32_t>{0, 1, 1, 0, 1}));
}

// Would take hours if it were quadratic.
TEST(BpeTest, AMegabyteOfOneWordIsNoProblem) {
  Model trained(1), shuffled(2);
  for (int32_t i = 0; i < 10; ++i) trained.Merge(i, i);
  for (int32_t i = 0; i < 10; ++i) shuffled.Merge(i + 1, i + 1);
  std::reverse(shuffled.merges.begin(), shuffled.merges.end());
  for (const Model* model : {&trained, &shuffled}) {
    const Bpe bpe(model->Options());
    Bpe::Scratch cache;
    TokenSink sink;
    const std::string word(size_t{1} << 20, model == &trained ? 'a' : 'b');
    bpe.EncodeWords(word, 0, {static_cast<uint32_t>(word.size())}, &cache, &sink);
    EXPECT_EQ(sink.ids.size(), size_t{1} << 10);
  }
}

}  // namespace
}  // namespace trainerd::engine
