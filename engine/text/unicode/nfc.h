// SPDX-License-Identifier: Apache-2.0
// Unicode normalization form C with the reference's own tables, keeping for each output byte the
// input bytes that it came from, so that token offsets can point into the input.
// Source: Unicode Standard Annex #15; Hangul arithmetic of the Unicode Standard, section 3.12.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trainerd::engine {

// A normalized text. Byte i came from input bytes [source_begin[i], source_end[i]).
struct NormalizedText {
  std::string text;
  std::vector<uint32_t> source_begin, source_end;
};

// Whether `text` (valid UTF-8) holds a character that NFC may change. False for nearly all text.
bool NeedsNfc(std::string_view text);

// Replaces *out with the NFC of `text`. Cost: O(n), except that long runs of combining marks are
// sorted: O(n log n).
void NormalizeNfc(std::string_view text, NormalizedText* out);

}  // namespace trainerd::engine
