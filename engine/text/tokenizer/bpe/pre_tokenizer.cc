// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/bpe/pre_tokenizer.h"

#include <cstring>

#include "engine/text/unicode/unicode_tables.h"
#include "proto/base/utf8.h"

namespace trainerd::engine {
namespace {

using unicode::kLetter;
using unicode::kLower;
using unicode::kMark;
using unicode::kNumber;
using unicode::kSpace;
using unicode::kUpper;

// A character at a position of the text. class_bits is 0 and size 0 at the end.
struct Char {
  uint32_t code_point = 0;
  int size = 0;
  uint16_t class_bits = 0;
};

inline Char CharAt(const char* p, const char* end) {
  Char c;
  if (p == end) return c;
  const auto byte = static_cast<uint8_t>(*p);
  if (byte < 0x80) {
    c.code_point = byte;
    c.size = 1;
    c.class_bits = unicode::ClassOfAscii(byte);
  } else {
    c.code_point = DecodeUtf8(p, &c.size);
    c.class_bits = unicode::ClassOf(c.code_point);
  }
  return c;
}

inline bool IsNewline(const Char& c) { return c.code_point == '\r' || c.code_point == '\n'; }

// End of the run of characters from p on that have one of `bits`.
template <uint16_t bits>
inline const char* SkipClass(const char* p, const char* end) {
  while (p < end) {
    const auto byte = static_cast<uint8_t>(*p);
    if (byte < 0x80) {
      if ((unicode::ClassOfAscii(byte) & bits) == 0) return p;
      ++p;
    } else {
      int size;
      const uint32_t c = DecodeUtf8(p, &size);
      if ((unicode::ClassOf(c) & bits) == 0) return p;
      p += size;
    }
  }
  return p;
}

// End of the run of characters from p on that have none of `bits`.
template <uint16_t bits>
inline const char* SkipNotClass(const char* p, const char* end) {
  while (p < end) {
    const Char c = CharAt(p, end);
    if ((c.class_bits & bits) != 0) return p;
    p += c.size;
  }
  return p;
}

// End of a contraction ('s 't 're 've 'm 'll 'd) whose apostrophe is at p, or p if there is none.
// Ignoring case, the long s (U+017F) folds to s; no other character folds to one of these letters.
template <bool ignore_case>
inline const char* SkipContraction(const char* p, const char* end) {
  const auto letter = [&](const char* at) -> char {
    if (at >= end) return 0;
    const char c = *at;
    return ignore_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  };
  const char first = letter(p + 1);
  switch (first) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return p + 2;
    case 'r':
    case 'v':
      return letter(p + 2) == 'e' ? p + 3 : p;
    case 'l':
      return letter(p + 2) == 'l' ? p + 3 : p;
    default:
      break;
  }
  if (ignore_case && end - p >= 3 && p[1] == '\xC5' && p[2] == '\xBF') return p + 3;
  return p;
}

// White space from p on, where nothing but white space can match: \s*[\r\n]+ (with `newlines`),
// \s+(?!\S), \s+.
template <bool newlines>
inline const char* SkipWhiteSpace(const char* p, const char* end) {
  const char* last_begin = p;
  const char* after_newline = nullptr;
  const char* q = p;
  while (q < end) {
    const Char c = CharAt(q, end);
    if ((c.class_bits & kSpace) == 0) break;
    last_begin = q;
    q += c.size;
    if (newlines && IsNewline(c)) after_newline = q;
  }
  if (after_newline != nullptr) return after_newline;
  if (q == end || last_begin == p) return q;
  return last_begin;
}

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
const char* NextGpt2(const char* p, const char* end) {
  if (*p == '\'') {
    const char* after = SkipContraction<false>(p, end);
    if (after != p) return after;
  }
  const char* q = *p == ' ' ? p + 1 : p;
  const Char c = CharAt(q, end);
  if (c.class_bits & kLetter) return SkipClass<kLetter>(q + c.size, end);
  if (c.class_bits & kNumber) return SkipClass<kNumber>(q + c.size, end);
  if (c.size != 0 && (c.class_bits & kSpace) == 0) {
    return SkipNotClass<kSpace | kLetter | kNumber>(q + c.size, end);
  }
  return SkipWhiteSpace<false>(p, end);
}

// What the cl100k-like expressions differ in.
struct WordRules {
  int max_digits = 1;                // \p{N}{1,max_digits}
  bool contractions = true;          // (?i:'s|'t|'re|'ve|'m|'ll|'d) as an alternative of its own
  bool marks_in_words = false;       // [\p{L}\p{M}]+ for \p{L}+
  bool case_splits = false;          // words are cut where lower case is followed by upper case
  bool suffix_contractions = false;  // (?i:'s|…)? behind each word
  bool slash_after_punctuation = false;  // [\r\n/]* for [\r\n]* behind punctuation
};

// One character of [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] (upper) or [\p{Ll}\p{Lm}\p{Lo}\p{M}] (lower).
inline bool IsUpperWord(const Char& c) {
  return (c.class_bits & (kLetter | kMark)) != 0 && (c.class_bits & kLower) == 0;
}
inline bool IsLowerWord(const Char& c) {
  return (c.class_bits & (kLetter | kMark)) != 0 && (c.class_bits & kUpper) == 0;
}

// [upper]*[lower]+ (kNeedsLower) or [upper]+[lower]*, greedy with backtracking; null = no match.
template <bool needs_lower>
const char* MatchCased(const char* p, const char* end) {
  const char* q = p;
  const char* after_last_both = nullptr;
  for (Char c = CharAt(q, end); IsUpperWord(c); c = CharAt(q, end)) {
    q += c.size;
    if (IsLowerWord(c)) after_last_both = q;
  }
  const char* after_upper = q;
  for (Char c = CharAt(q, end); IsLowerWord(c); c = CharAt(q, end)) q += c.size;
  if (q != after_upper) return q;
  if (needs_lower) return after_last_both;
  return after_upper != p ? after_upper : nullptr;
}

// The word of a case-splitting expression at p, or null.
template <WordRules rules>
const char* CasedWord(const char* p, const char* end) {
  const Char c = CharAt(p, end);
  const bool prefix = !IsNewline(c) && (c.class_bits & (kLetter | kNumber)) == 0;
  const char* word = nullptr;
  if (prefix) word = MatchCased<true>(p + c.size, end);
  if (word == nullptr) word = MatchCased<true>(p, end);
  if (word == nullptr && prefix) word = MatchCased<false>(p + c.size, end);
  if (word == nullptr) word = MatchCased<false>(p, end);
  if (word == nullptr || !rules.suffix_contractions) return word;
  return word < end && *word == '\'' ? SkipContraction<true>(word, end) : word;
}

template <WordRules rules>
const char* NextCl100k(const char* p, const char* end) {
  constexpr uint16_t kWord = rules.marks_in_words ? kLetter | kMark : kLetter;
  const Char c = CharAt(p, end);
  if constexpr (rules.contractions) {
    if (c.code_point == '\'') {
      const char* after = SkipContraction<true>(p, end);
      if (after != p) return after;
    }
  }
  if constexpr (rules.case_splits) {
    const char* word = CasedWord<rules>(p, end);
    if (word != nullptr) return word;
  } else {
    if (c.class_bits & kLetter) return SkipClass<kWord>(p + c.size, end);
    if (!IsNewline(c) && (c.class_bits & kNumber) == 0) {
      const Char d = CharAt(p + c.size, end);
      if (d.class_bits & kWord) return SkipClass<kWord>(p + c.size + d.size, end);
      if (c.class_bits & kWord) return p + c.size;
    }
  }
  if (c.class_bits & kNumber) {
    const char* q = p + c.size;
    for (int i = 1; i < rules.max_digits; ++i) {
      const Char d = CharAt(q, end);
      if ((d.class_bits & kNumber) == 0) break;
      q += d.size;
    }
    return q;
  }
  const char* q = c.code_point == ' ' ? p + 1 : p;
  const Char d = CharAt(q, end);
  constexpr uint16_t kNotPunctuation = kSpace | kNumber | kWord;
  if (d.size != 0 && (d.class_bits & kNotPunctuation) == 0) {
    q = SkipNotClass<kNotPunctuation>(q + d.size, end);
    while (q < end && (*q == '\r' || *q == '\n' || (rules.slash_after_punctuation && *q == '/'))) {
      ++q;
    }
    return q;
  }
  return SkipWhiteSpace<true>(p, end);
}

template <bool individual>
const char* NextDigits(const char* p, const char* end) {
  const Char c = CharAt(p, end);
  if (c.class_bits & unicode::kRustNumeric) {
    return individual ? p + c.size : SkipClass<unicode::kRustNumeric>(p + c.size, end);
  }
  return SkipNotClass<unicode::kRustNumeric>(p + c.size, end);
}

const char* NextMetaspace(const char* p, const char* end) {
  const void* space = std::memchr(p + 1, ' ', static_cast<size_t>(end - p - 1));
  return space != nullptr ? static_cast<const char*>(space) : end;
}

constexpr WordRules kQwen2{};
constexpr WordRules kLlama3{.max_digits = 3};
constexpr WordRules kQwen35{.marks_in_words = true};
constexpr WordRules kTekken{
    .contractions = false, .case_splits = true, .slash_after_punctuation = true};
constexpr WordRules kO200k{.max_digits = 3,
                           .contractions = false,
                           .case_splits = true,
                           .suffix_contractions = true,
                           .slash_after_punctuation = true};

struct KnownRegex {
  std::string_view regex;
  PieceScanner scanner;
};

// Expressions as they occur in the tokenizer.json of the families named.
constexpr KnownRegex kKnown[] = {
    // Qwen 2, 2.5, 3
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
     R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     NextCl100k<kQwen2>},
    // Llama 3
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
     R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     NextCl100k<kLlama3>},
    // Qwen 3.5
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|)"
     R"( ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     NextCl100k<kQwen35>},
    // Mistral Nemo
    {R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
     R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
     R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     NextCl100k<kTekken>},
    // GPT-4o and models with its tokenizer (Llama 4, Phi 4 mini)
    {R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
     R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
     R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
     R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     NextCl100k<kO200k>},
    // GPT-2
    {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", NextGpt2},
    {R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", NextGpt2},
};

}  // namespace

PieceScanner ScannerOfRegex(std::string_view regex) {
  for (const KnownRegex& known : kKnown) {
    if (known.regex == regex) return known.scanner;
  }
  return nullptr;
}

PieceScanner Gpt2Scanner() { return NextGpt2; }

PieceScanner DigitsScanner(bool individual) {
  return individual ? NextDigits<true> : NextDigits<false>;
}

PieceScanner MetaspaceScanner() { return NextMetaspace; }

void PreTokenizer::Split(std::string_view text, size_t first, size_t last, uint32_t offset,
                         std::vector<uint32_t>* ends) const {
  const char* begin = text.data();
  const char* end = begin + text.size();
  if (first == last) {
    if (!text.empty()) ends->push_back(offset + static_cast<uint32_t>(text.size()));
    return;
  }
  const PieceScanner scanner = steps_[first];
  for (const char* p = begin; p < end;) {
    const char* piece_end = scanner(p, end);
    if (first + 1 == last) {
      ends->push_back(offset + static_cast<uint32_t>(piece_end - begin));
    } else {
      Split(std::string_view(p, static_cast<size_t>(piece_end - p)), first + 1, last,
            offset + static_cast<uint32_t>(p - begin), ends);
    }
    p = piece_end;
  }
}

}  // namespace trainerd::engine
