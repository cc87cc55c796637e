// SPDX-License-Identifier: Apache-2.0
// Text in terminal columns: width, cutting and padding of UTF-8 that may contain wide and combining
// characters.
#pragma once

#include <string>
#include <string_view>

namespace trainerd::client {

// Number of bytes before an incomplete UTF-8 character at the end of `text`; all bytes if the end
// is complete. For text that arrives in pieces.
size_t WholeCharacters(std::string_view text);

// Columns of the text. Color sequences (ESC [ … m) count as 0.
int DisplayWidth(std::string_view text);

// The longest prefix that fits into `columns`. If text is cut, the result ends with "…" ("~"
// without utf8), and colors are reset.
std::string FitWidth(std::string_view text, int columns, bool utf8 = true);

// Pads with spaces to `columns`; longer text is unchanged.
std::string PadRight(std::string_view text, int columns);
std::string PadLeft(std::string_view text, int columns);

}  // namespace trainerd::client
