// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/steps/added_tokens.h"

#include <algorithm>
#include <cstring>

#include "engine/text/unicode/unicode_tables.h"
#include "proto/base/utf8.h"

namespace trainerd::engine {
namespace {

// Start of the character that ends before `p`.
const char* CharBefore(const char* p) {
  do {
    --p;
  } while ((static_cast<uint8_t>(*p) & 0xC0) == 0x80);
  return p;
}

uint16_t ClassOfFirst(std::string_view text) {
  int size;
  return unicode::ClassOf(DecodeUtf8(text.data(), &size));
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(const std::vector<Pattern>& patterns,
                                     std::string_view space_symbol)
    : space_class_(ClassOfFirst(space_symbol.empty() ? " " : space_symbol)) {
  node_pattern_.push_back(-1);
  int first_bytes = 0;
  for (const Pattern& pattern : patterns) {
    if (pattern.text.empty()) continue;
    uint32_t node = 0;
    for (const char c : pattern.text) {
      const auto next = static_cast<uint32_t>(node_pattern_.size());
      const auto [it, inserted] = children_.try_emplace(node * 256 + static_cast<uint8_t>(c), next);
      if (inserted) node_pattern_.push_back(-1);
      node = it->second;
    }
    const auto first = static_cast<uint8_t>(pattern.text[0]);
    if (!first_byte_[first]) {
      ++first_bytes;
      only_first_byte_ = first;
    }
    first_byte_[first] = true;
    if (node_pattern_[node] >= 0) continue;  // the earlier of two equal patterns counts
    node_pattern_[node] = static_cast<int>(patterns_.size());
    patterns_.push_back(
        {pattern.id, pattern.special, pattern.lstrip, pattern.rstrip, pattern.single_word});
  }
  if (first_bytes != 1) only_first_byte_ = -1;
}

uint16_t AddedTokenMatcher::ClassAt(const char* p) const {
  return *p == ' ' ? space_class_ : ClassOfFirst(p);
}

const char* AddedTokenMatcher::NextCandidate(const char* p, const char* end) const {
  if (only_first_byte_ >= 0) {
    const void* found = std::memchr(p, only_first_byte_, static_cast<size_t>(end - p));
    return found != nullptr ? static_cast<const char*>(found) : end;
  }
  while (p < end && !first_byte_[static_cast<uint8_t>(*p)]) ++p;
  return p;
}

int AddedTokenMatcher::LongestMatch(const char* p, const char* end, uint32_t* size) const {
  int best = -1;
  uint32_t node = 0;
  for (const char* q = p; q < end;) {
    const auto it = children_.find(node * 256 + static_cast<uint8_t>(*q));
    if (it == children_.end()) break;
    node = it->second;
    ++q;
    if (node_pattern_[node] >= 0) {
      best = node_pattern_[node];
      *size = static_cast<uint32_t>(q - p);
    }
  }
  return best;
}

void AddedTokenMatcher::Split(std::string_view text, uint32_t begin, uint32_t end,
                              absl::Span<const TextSpan> plain,
                              std::vector<TextPiece>* pieces) const {
  const char* base = text.data();
  const char* stop = base + end;
  uint32_t done = begin;
  const TextSpan* next_plain = plain.begin();  // the first that ends behind the match
  for (const char* p = base + begin; !patterns_.empty();) {
    p = NextCandidate(p, stop);
    if (p == stop) break;
    uint32_t size = 0;
    int match = LongestMatch(p, stop, &size);
    if (match >= 0 && patterns_[static_cast<size_t>(match)].special && !plain.empty()) {
      const auto at = static_cast<uint32_t>(p - base);
      while (next_plain != plain.end() && next_plain->end <= at) ++next_plain;
      if (next_plain != plain.end() && next_plain->begin < at + size) {
        if (next_plain->begin <= at) {
          // Like the reference, skip a token that must not be found; but search again behind the
          // span.
          p += std::min(size, next_plain->end - at);
          continue;
        }
        match = LongestMatch(p, base + next_plain->begin, &size);
      }
    }
    if (match < 0) {
      ++p;
      continue;
    }
    const Flags& flags = patterns_[static_cast<size_t>(match)];
    const char* match_begin = p;
    const char* match_end = p + size;
    p = match_end;
    if (flags.single_word &&
        ((match_begin > base + begin && (ClassAt(CharBefore(match_begin)) & unicode::kRustWord)) ||
         (match_end < stop && (ClassAt(match_end) & unicode::kRustWord)))) {
      continue;
    }
    if (flags.lstrip) {
      while (match_begin > base + begin) {
        const char* before = CharBefore(match_begin);
        if ((ClassAt(before) & unicode::kRustSpace) == 0) break;
        match_begin = before;
      }
      match_begin = std::max(match_begin, base + done);
    }
    if (flags.rstrip) {
      while (match_end < stop && (ClassAt(match_end) & unicode::kRustSpace)) {
        int char_size;
        DecodeUtf8(match_end, &char_size);
        match_end += char_size;
      }
    }
    const auto at = static_cast<uint32_t>(match_begin - base);
    if (done < at) pieces->push_back({-1, done, at});
    done = static_cast<uint32_t>(match_end - base);
    pieces->push_back({flags.id, at, done});
  }
  if (done < end) pieces->push_back({-1, done, end});
}

}  // namespace trainerd::engine
