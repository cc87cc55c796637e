// SPDX-License-Identifier: Apache-2.0
// The smallest symbols of SentencePiece-style BPE: characters instead of bytes. A character that is
// no token is spelled by the tokens of its bytes ("<0xE2>"), or else by the unknown token.
// Source: PyPI tokenizers, models/bpe/model.rs, merge_word.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "engine/text/tokenizer/bpe/word_cache.h"

namespace trainerd::engine {

class Characters {
 public:
  static constexpr int32_t kNoToken = -1;

  struct Options {
    // Code point and token of each character that is a token.
    std::vector<std::pair<uint32_t, int32_t>> ids;
    // The token of each byte, or kNoToken.
    std::array<int32_t, 256> byte_ids;
    // Replaces a character without a token; `fuse_unk` joins adjacent ones. Without `unk` such
    // characters are dropped.
    int32_t unk = kNoToken;
    bool fuse_unk = false;
    // What a space of the text stands for: its bytes spell a space that is no token. "" = a space.
    std::string space_symbol;
    // The tokens that merging can make, for CutWords: texts that end at other places than these
    // tokens do can be cut there. If the tokens of bytes or `unk` can be merged, whole_words is
    // set: nothing is cut.
    std::vector<std::string_view> merged;
    bool whole_words = false;
  };
  explicit Characters(const Options& options);

  // Replaces *symbols by those of `word` (valid UTF-8) before any merge. The tokens of its bytes
  // all have the bytes of the character.
  void Split(std::string_view word, std::vector<BpeSymbol>* symbols) const;

  // Appends the ends of parts of text[begin, end) that are merged independently of each other, so
  // that each can be found in the word cache.
  void CutWords(std::string_view text, uint32_t begin, uint32_t end,
                std::vector<uint32_t>* ends) const;

  int32_t IdOf(uint32_t code_point) const {
    if (code_point < ascii_.size()) return ascii_[code_point];
    const auto it = others_.find(code_point);
    return it != others_.end() ? it->second : kNoToken;
  }

 private:
  // Where the bit of two adjacent characters is in joined_.
  size_t BitOf(uint32_t left, uint32_t right) const {
    if ((left | right) < 0x80) return left << 7 | right;
    const uint64_t pair = uint64_t{left} << 21 | right;
    return (size_t{1} << 14) + ((pair * 0x9E3779B97F4A7C15u) >> shift_);
  }
  // False: no token has these characters side by side.
  bool MayJoin(uint32_t left, uint32_t right) const {
    const size_t bit = BitOf(left, right);
    return (joined_[bit / 64] >> (bit % 64) & 1) != 0;
  }
  void MarkJoined(std::string_view token);

  std::array<int32_t, 128> ascii_;
  absl::flat_hash_map<uint32_t, int32_t> others_;
  std::array<int32_t, 256> byte_ids_;
  int32_t unk_;
  bool fuse_unk_, whole_words_;
  bool spells_all_;  // each byte has a token
  std::string space_symbol_;
  // Pairs of ASCII characters, then hashes of the others.
  std::vector<uint64_t> joined_;
  int shift_ = 64;
};

}  // namespace trainerd::engine
