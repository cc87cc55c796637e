// SPDX-License-Identifier: Apache-2.0
// Python's string operations on tagged text: each byte of a result has the tag of the byte from
// which it was made.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/text/jinja/value/tagged_text.h"

namespace trainerd::engine::jinja {

enum class Case {
  kUpper,
  kLower,
  kCapitalize,  // first character upper, the rest lower
  kTitle,       // str.title(): each run of letters
  kTitleWords,  // Jinja's title filter: after white space, - ( { [ <
};
TaggedText MapCase(const TaggedText& text, Case how);

// Strips the code points in `characters`, or white space if it is null.
TaggedText Strip(const TaggedText& text, const std::string_view* characters, bool left, bool right);

// str.split(separator, max_splits); splits at white space if `separator` is null. max_splits < 0:
// no limit. From the right: str.rsplit.
std::vector<TaggedText> Split(const TaggedText& text, const std::string_view* separator,
                              int64_t max_splits, bool from_right);
std::vector<TaggedText> SplitLines(const TaggedText& text, bool keep_ends);

// str.replace; count < 0: no limit.
TaggedText Replace(const TaggedText& text, std::string_view from, const TaggedText& to,
                   int64_t count);

// Whether `code_point` is white space to str.strip() and str.split().
bool IsPythonSpace(uint32_t code_point);

}  // namespace trainerd::engine::jinja
