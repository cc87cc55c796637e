// SPDX-License-Identifier: Apache-2.0
// Untrusted text as HTML text. It cannot become markup, and no character is invisible: characters
// without a glyph and bidirectional controls are shown as U+XXXX. UTF-8 in and out; invalid bytes
// become U+FFFD.
#pragma once

#include <string>
#include <string_view>

namespace trainerd::client {

// For text between tags and for attribute values in quotes. Newlines and tabs stay.
std::string HtmlText(std::string_view text);

// For an element with `white-space: pre-wrap`. Marked for a style sheet: <i class="n"> around a
// newline, "t" around a tab, "c" around the U+XXXX of an invisible character. Apart from "c", the
// text content of the elements is the text itself.
std::string HtmlOfTokens(std::string_view text);

// For one line of a tooltip: as HtmlText, newlines and tabs as \n and \t.
std::string HtmlLine(std::string_view text);

}  // namespace trainerd::client
