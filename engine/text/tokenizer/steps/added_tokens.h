// SPDX-License-Identifier: Apache-2.0
// Finds added tokens (<|im_end|>, <think> …) in a text before it is cut into words, by the rules of
// PyPI tokenizers' AddedVocabulary: leftmost-longest, then single_word, lstrip and rstrip.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "engine/text/unicode/text_span.h"

namespace trainerd::engine {

// A stretch of text: an added token, or (id < 0) text between them.
struct TextPiece {
  int32_t id = -1;
  uint32_t begin = 0, end = 0;
};

class AddedTokenMatcher {
 public:
  struct Pattern {
    std::string_view text;  // the text to find; not kept
    int32_t id = 0;
    bool special = false, lstrip = false, rstrip = false, single_word = false;
  };
  // `space_symbol`: the character that a space of the text stands for (normalizer.h); "" = a space.
  explicit AddedTokenMatcher(const std::vector<Pattern>& patterns,
                             std::string_view space_symbol = "");

  bool empty() const { return patterns_.empty(); }

  // Appends the pieces of text[begin, end) in order. Pieces may overlap where rstrip swallowed what
  // another token starts with, as in the reference. Special tokens that touch a span of `plain` (in
  // order) remain text. Cost: O(n · longest pattern).
  void Split(std::string_view text, uint32_t begin, uint32_t end, absl::Span<const TextSpan> plain,
             std::vector<TextPiece>* pieces) const;

 private:
  struct Flags {
    int32_t id;
    bool special, lstrip, rstrip, single_word;
  };
  // unicode::ClassOf of the character at p.
  uint16_t ClassAt(const char* p) const;
  // First position >= p in [p, end) at which some pattern may start, or end.
  const char* NextCandidate(const char* p, const char* end) const;
  // Longest pattern at p; its index, or -1.
  int LongestMatch(const char* p, const char* end, uint32_t* size) const;

  std::vector<Flags> patterns_;
  std::vector<int> node_pattern_;                     // pattern that ends at a node of the trie
  absl::flat_hash_map<uint32_t, uint32_t> children_;  // node * 256 + byte → node
  std::array<bool, 256> first_byte_ = {};
  uint16_t space_class_;
  int only_first_byte_ = -1;  // when all patterns start with one byte
};

}  // namespace trainerd::engine
