// SPDX-License-Identifier: Apache-2.0
// Python's string operations on tagged text: each byte of a result keeps the tag of the byte that
// it was made from.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/text/jinja/tagged_text.h"

namespace trainerd::engine::jinja {

enum class Case {
  kUpper,
  kLower,
  kCapitalize,  // first character upper, the rest lower
  kTitle,       // str.title(): each run of letters
  kTitleWords,  // Jinja's title filter: after white space, - ( { [ <
};
TaggedText MapCase(const TaggedText& text, Case how);

// Strips characters of `characters` (code points), or white space when it is null.
TaggedText Strip(const TaggedText& text, const std::string_view* characters, bool left, bool right);

// str.split(separator, max_splits), or of white space when `separator` is null. max_splits < 0 =
// all. From the right: str.rsplit.
std::vector<TaggedText> Split(const TaggedText& text, const std::string_view* separator,
                              int64_t max_splits, bool from_right);
std::vector<TaggedText> SplitLines(const TaggedText& text, bool keep_ends);

// str.replace; count < 0 = all.
TaggedText Replace(const TaggedText& text, std::string_view from, const TaggedText& to,
                   int64_t count);

// Whether `code_point` is white space to str.strip() and str.split().
bool IsPythonSpace(uint32_t code_point);

}  // namespace trainerd::engine::jinja
