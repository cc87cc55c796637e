// SPDX-License-Identifier: Apache-2.0
// Untrusted text for a terminal, a log or a table: without characters that move the cursor, change
// colors or reorder what is around them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace trainerd {

// Whether a code point is a control character (C0, C1, DEL), a bidirectional control or a line or
// paragraph separator.
bool IsControlCharacter(uint32_t code_point);

// Whether a text holds such a code point, or bytes that are not UTF-8.
bool HasControlCharacter(std::string_view text);

// `text` with its control characters as escapes that YAML and C read: \n, \t, \xNN below 0x80 and
// for bytes that are not UTF-8, else \uNNNN.
std::string EscapedText(std::string_view text);

// Replaces control characters (C0, C1, DEL), bidirectional controls, line separators and bytes
// that are not UTF-8 by "?", newlines and tabs by a space.
std::string PlainText(std::string_view text);
// As PlainText, but newlines and tabs stay.
std::string PlainTextLines(std::string_view text);

// `text` as one word of a POSIX shell, for commands that a message proposes. Quoted only if needed.
std::string ShellWord(std::string_view text);

}  // namespace trainerd
