// SPDX-License-Identifier: Apache-2.0
// Reading, writing and checking UTF-8. DecodeUtf8 trusts its input: check texts once, where they
// enter the program, with FindInvalidUtf8. utf8proc decides what is valid: no surrogates, no
// overlong forms, nothing above U+10FFFF.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace trainerd {

// Code point at `p` of valid UTF-8; sets *size to its bytes.
inline uint32_t DecodeUtf8(const char* p, int* size) {
  const auto* u = reinterpret_cast<const uint8_t*>(p);
  if (u[0] < 0x80) {
    *size = 1;
    return u[0];
  }
  if (u[0] < 0xE0) {
    *size = 2;
    return ((u[0] & 0x1Fu) << 6) | (u[1] & 0x3Fu);
  }
  if (u[0] < 0xF0) {
    *size = 3;
    return ((u[0] & 0x0Fu) << 12) | ((u[1] & 0x3Fu) << 6) | (u[2] & 0x3Fu);
  }
  *size = 4;
  return ((u[0] & 0x07u) << 18) | ((u[1] & 0x3Fu) << 12) | ((u[2] & 0x3Fu) << 6) | (u[3] & 0x3Fu);
}

// Appends the UTF-8 form of a code point up to U+10FFFF.
void AppendUtf8(uint32_t code_point, std::string* out);

// Offset of the first byte that is not valid UTF-8; npos if `text` is valid.
size_t FindInvalidUtf8(std::string_view text);

// Appends `bytes` with each maximal invalid part replaced by U+FFFD, as Rust's from_utf8_lossy.
// If `held` is given, an incomplete character at the end is omitted instead, and *held is set to
// its number of bytes.
void AppendLossyUtf8(std::string_view bytes, std::string* out, size_t* held = nullptr);

// `bytes` with each maximal invalid part replaced by '?', so that a limit on the size still holds:
// for string fields of a message, which must be valid.
std::string ToValidUtf8(std::string_view bytes);

}  // namespace trainerd
