// SPDX-License-Identifier: Apache-2.0
// Character classes and NFC data as the reference tokenizer has them; unicode_tables.cc is
// generated (see its header for versions). The reference contains several Unicode versions at once,
// so the classes of its regex engine and of Rust's library are separate.
#pragma once

#include <cstddef>
#include <cstdint>

namespace trainerd::engine::unicode {

// Bits of ClassOf().
enum Class : uint16_t {
  kLetter = 1 << 0,       // \p{L}
  kNumber = 1 << 1,       // \p{N}
  kSpace = 1 << 2,        // \s
  kMark = 1 << 3,         // \p{M}
  kUpper = 1 << 4,        // [\p{Lu}\p{Lt}]
  kLower = 1 << 5,        // \p{Ll}
  kRustNumeric = 1 << 6,  // the "Digits" pre-tokenizer
  kRustWord = 1 << 7,     // what counts as a word for single_word added tokens
  kRustSpace = 1 << 8,    // what lstrip and rstrip of added tokens swallow
  kNfcSlow = 1 << 9,      // text with such a character may change under NFC
};

struct Combining {
  uint32_t code_point;
  uint8_t combining_class;
};
// Full canonical decomposition: kDecomposed[begin .. begin + size).
struct Decomposition {
  uint32_t code_point;
  uint16_t begin;
  uint16_t size;
};
struct Composition {
  uint32_t first, second, composed;
};

// Sorted by code point (pair); Hangul syllables are computed, not listed.
extern const uint16_t kStage1[];
extern const uint16_t kStage2[];
extern const size_t kNumCombining;
extern const Combining kCombining[];
extern const size_t kNumDecompositions;
extern const Decomposition kDecompositions[];
extern const uint32_t kDecomposed[];
extern const size_t kNumCompositions;
extern const Composition kCompositions[];

inline uint16_t ClassOf(uint32_t code_point) {
  return kStage2[(uint32_t{kStage1[code_point >> 7]} << 7) | (code_point & 127)];
}
// The same for code points below 128, whose block comes first.
inline uint16_t ClassOfAscii(uint8_t byte) { return kStage2[byte]; }

}  // namespace trainerd::engine::unicode
