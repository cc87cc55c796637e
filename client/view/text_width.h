// SPDX-License-Identifier: Apache-2.0
// Text in terminal columns: width, cutting and padding of UTF-8 that may hold wide and combining
// characters, and the removal of what could steer a terminal (names and messages come from other
// people's files).
#pragma once

#include <string>
#include <string_view>

namespace trainerd::client {

// Replaces control characters (escape sequences, newlines, tabs) and bytes that are not UTF-8, so
// that the text stays on its line and cannot move the cursor.
std::string PlainText(std::string_view text);

// As PlainText, but newlines and tabs stay: for text of several lines.
std::string PlainTextLines(std::string_view text);

// Bytes of `text` before a UTF-8 character that its end cuts off; all of it when none is cut. For
// text that comes in pieces.
size_t WholeCharacters(std::string_view text);

// Columns that the text takes. Sequences of the form ESC [ … m (colours) count as 0.
int DisplayWidth(std::string_view text);

// The longest beginning that fits into `columns`; a cut one ends with "…" ("~" where !utf8).
// Colours are closed.
std::string FitWidth(std::string_view text, int columns, bool utf8 = true);

// The text with spaces after it up to `columns`; longer text stays as it is.
std::string PadRight(std::string_view text, int columns);
std::string PadLeft(std::string_view text, int columns);

}  // namespace trainerd::client
