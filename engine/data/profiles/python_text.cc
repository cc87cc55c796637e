// SPDX-License-Identifier: Apache-2.0
#include "engine/data/profiles/python_text.h"

#include <array>

namespace trainerd::engine {
namespace {

// Every character c with str.isspace() in CPython 3.11 (Unicode 14), as UTF-8.
constexpr std::array<std::string_view, 29> kSpaces = {
    "\t",           "\n",           "\v",           "\f",           "\r",
    "\x1c",         "\x1d",         "\x1e",         "\x1f",         " ",
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

}  // namespace

std::string_view PythonLstrip(std::string_view text) {
  for (bool found = true; found;) {
    found = false;
    for (const std::string_view space : kSpaces) {
      if (text.substr(0, space.size()) != space) continue;
      text.remove_prefix(space.size());
      found = true;
      break;
    }
  }
  return text;
}

std::string_view PythonRstrip(std::string_view text) {
  for (bool found = true; found;) {
    found = false;
    for (const std::string_view space : kSpaces) {
      if (text.size() < space.size() || text.substr(text.size() - space.size()) != space) continue;
      text.remove_suffix(space.size());
      found = true;
      break;
    }
  }
  return text;
}

std::string_view PythonStrip(std::string_view text) { return PythonRstrip(PythonLstrip(text)); }

}  // namespace trainerd::engine
