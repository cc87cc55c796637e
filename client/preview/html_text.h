// SPDX-License-Identifier: Apache-2.0
// Any text as HTML in which it cannot be markup, and in which nothing of it is unseen: characters
// without a shape of their own, and those that reorder what stands around them (bidirectional
// controls), come out as U+XXXX. UTF-8 in and out; bytes that are none become U+FFFD.
#pragma once

#include <string>
#include <string_view>

namespace trainerd::client {

// For text between tags and for attribute values in quotes. Newlines and tabs stay.
std::string HtmlText(std::string_view text);

// Trained or read text inside an element of `white-space: pre-wrap`. Marked for a style sheet:
// <i class="n"> around a newline, "t" around a tab, "c" around the U+XXXX of a character that is
// not shown. Without the marks of "c" undone, the text content of the elements is the text itself.
std::string HtmlOfTokens(std::string_view text);

// For one line of a tooltip: as HtmlText, newlines and tabs as \n and \t.
std::string HtmlLine(std::string_view text);

}  // namespace trainerd::client
