// SPDX-License-Identifier: Apache-2.0
// Reading and writing UTF-8. The readers trust their input: Tokenizer::Encode and the template
// interpreter check texts once with FindInvalidUtf8, at the edge.
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

void AppendUtf8(uint32_t code_point, std::string* out);

// Offset of the first byte that is not UTF-8 (surrogates and overlong forms are not);
// npos = the whole text is valid.
size_t FindInvalidUtf8(std::string_view text);

// Appends `bytes` with each maximal invalid part replaced by U+FFFD, as Rust's from_utf8_lossy.
// With `held`, an unfinished character at the end is not replaced: *held is set to its byte count
// and it is left out.
void AppendLossyUtf8(std::string_view bytes, std::string* out, size_t* held = nullptr);

}  // namespace trainerd
