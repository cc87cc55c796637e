// SPDX-License-Identifier: Apache-2.0
#include "engine/data/profiles/python_text.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace trainerd::engine {
namespace {

// The characters beyond ASCII with str.isspace() in CPython 3.11 (Unicode 14), as UTF-8.
constexpr std::array<std::string_view, 19> kWideSpaces = {
    "\xc2\x85",      // U+0085 next line
    "\xc2\xa0",      // U+00A0 no-break space
    "\xe1\x9a\x80",  // U+1680 ogham space mark
    "\xe2\x80\x80", "\xe2\x80\x81", "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84",
    "\xe2\x80\x85", "\xe2\x80\x86", "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89",
    "\xe2\x80\x8a",                  // U+2000-200A
    "\xe2\x80\xa8", "\xe2\x80\xa9",  // U+2028, U+2029 separators
    "\xe2\x80\xaf",                  // U+202F narrow no-break space
    "\xe2\x81\x9f",                  // U+205F medium mathematical space
    "\xe3\x80\x80",                  // U+3000 ideographic space
};

bool IsAscii(char c) { return static_cast<uint8_t>(c) < 0x80; }

// The same of ASCII: tab to carriage return, and the separators U+001C to U+001F.
bool IsAsciiSpace(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f);
}

// Bytes of the white-space character for which `found(character)` holds; 0 = none.
template <typename Found>
size_t WideSpace(const Found& found) {
  const auto space = std::find_if(kWideSpaces.begin(), kWideSpaces.end(), found);
  return space == kWideSpaces.end() ? 0 : space->size();
}

// Bytes of the white-space character at the start of a text that is not empty; 0 = none.
size_t SpaceAtStart(std::string_view text) {
  if (IsAscii(text.front())) return IsAsciiSpace(text.front()) ? 1 : 0;
  return WideSpace([&](std::string_view space) { return text.substr(0, space.size()) == space; });
}

// The same at the end.
size_t SpaceAtEnd(std::string_view text) {
  if (IsAscii(text.back())) return IsAsciiSpace(text.back()) ? 1 : 0;
  return WideSpace([&](std::string_view space) {
    return text.size() >= space.size() && text.substr(text.size() - space.size()) == space;
  });
}

}  // namespace

std::string_view PythonLstrip(std::string_view text) {
  while (!text.empty()) {
    const size_t size = SpaceAtStart(text);
    if (size == 0) break;
    text.remove_prefix(size);
  }
  return text;
}

std::string_view PythonRstrip(std::string_view text) {
  while (!text.empty()) {
    const size_t size = SpaceAtEnd(text);
    if (size == 0) break;
    text.remove_suffix(size);
  }
  return text;
}

std::string_view PythonStrip(std::string_view text) { return PythonRstrip(PythonLstrip(text)); }

}  // namespace trainerd::engine
