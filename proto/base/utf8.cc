// SPDX-License-Identifier: Apache-2.0
#include "proto/base/utf8.h"

#include <cstring>

namespace trainerd {
namespace {

// Bytes of the longest prefix of [p, end) that is, or could still become, one character.
// *complete: it is one. At least 1. Table 3-7 of the Unicode standard.
size_t CharacterPrefix(const uint8_t* p, const uint8_t* end, bool* complete, bool* unfinished) {
  *complete = false;
  *unfinished = false;
  const uint8_t lead = p[0];
  if (lead < 0x80) {
    *complete = true;
    return 1;
  }
  size_t size = 0;
  uint8_t low = 0x80, high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    size = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    size = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    size = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return 1;
  }
  for (size_t i = 1; i < size; ++i) {
    if (p + i == end) {
      *unfinished = true;
      return i;
    }
    if (p[i] < low || p[i] > high) return i;
    low = 0x80;
    high = 0xBF;
  }
  *complete = true;
  return size;
}

}  // namespace

void AppendUtf8(uint32_t c, std::string* out) {
  if (c < 0x80) {
    out->push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out->push_back(static_cast<char>(0xC0 | (c >> 6)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else if (c < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | (c >> 12)));
    out->push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else {
    out->push_back(static_cast<char>(0xF0 | (c >> 18)));
    out->push_back(static_cast<char>(0x80 | ((c >> 12) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3F)));
  }
}

size_t FindInvalidUtf8(std::string_view text) {
  const auto* begin = reinterpret_cast<const uint8_t*>(text.data());
  const auto* end = begin + text.size();
  const auto* p = begin;
  while (p < end) {
    uint64_t eight;
    if (end - p >= 8) {
      std::memcpy(&eight, p, 8);
      if ((eight & 0x8080808080808080u) == 0) {
        p += 8;
        continue;
      }
    }
    bool complete, unfinished;
    const size_t size = CharacterPrefix(p, end, &complete, &unfinished);
    if (!complete) return static_cast<size_t>(p - begin);
    p += size;
  }
  return std::string_view::npos;
}

void AppendLossyUtf8(std::string_view bytes, std::string* out, size_t* held) {
  if (held != nullptr) *held = 0;
  const auto* p = reinterpret_cast<const uint8_t*>(bytes.data());
  const auto* end = p + bytes.size();
  while (p < end) {
    bool complete, unfinished;
    const size_t size = CharacterPrefix(p, end, &complete, &unfinished);
    if (complete) {
      out->append(reinterpret_cast<const char*>(p), size);
    } else if (unfinished && held != nullptr) {
      *held = size;
      return;
    } else {
      out->append("\xEF\xBF\xBD");
    }
    p += size;
  }
}

}  // namespace trainerd
