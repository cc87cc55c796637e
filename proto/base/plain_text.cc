// SPDX-License-Identifier: Apache-2.0
#include "proto/base/plain_text.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_format.h"
#include "proto/base/utf8.h"

namespace trainerd {
namespace {

// `text` with its control characters and its bytes that are not UTF-8 written by the functions.
template <typename WriteControl, typename WriteByte>
std::string Rewrite(std::string_view text, const WriteControl& write_control,
                    const WriteByte& write_byte) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const size_t valid = std::min(FindInvalidUtf8(text), text.size());
    for (size_t i = 0; i < valid;) {
      int size = 0;
      const uint32_t code_point = DecodeUtf8(text.data() + i, &size);
      if (IsControlCharacter(code_point)) {
        write_control(code_point, &result);
      } else {
        result.append(text.substr(i, size));
      }
      i += size;
    }
    text.remove_prefix(valid);
    if (text.empty()) break;
    write_byte(static_cast<unsigned char>(text.front()), &result);
    text.remove_prefix(1);
  }
  return result;
}

std::string Sanitize(std::string_view text, bool keep_lines) {
  return Rewrite(
      text,
      [&](uint32_t control, std::string* result) {
        const bool space = control == '\n' || control == '\t';
        *result += !space ? '?' : keep_lines ? static_cast<char>(control) : ' ';
      },
      [](unsigned char, std::string* result) { *result += '?'; });
}

}  // namespace

bool IsControlCharacter(uint32_t code_point) {
  const bool c0_or_c1 = code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0);
  // Unicode's Bidi_Control. These and line separators can make a line look like another one.
  const bool direction = code_point == 0x061c || code_point == 0x200e || code_point == 0x200f ||
                         (code_point >= 0x202a && code_point <= 0x202e) ||
                         (code_point >= 0x2066 && code_point <= 0x2069);
  return c0_or_c1 || direction || code_point == 0x2028 || code_point == 0x2029;
}

bool HasControlCharacter(std::string_view text) {
  if (FindInvalidUtf8(text) != std::string_view::npos) return true;
  for (size_t i = 0; i < text.size();) {
    int size = 0;
    if (IsControlCharacter(DecodeUtf8(text.data() + i, &size))) return true;
    i += size;
  }
  return false;
}

std::string EscapedText(std::string_view text) {
  return Rewrite(
      text,
      [](uint32_t control, std::string* result) {
        if (control == '\n' || control == '\t') {
          *result += control == '\n' ? "\\n" : "\\t";
        } else if (control < 0x80) {
          absl::StrAppendFormat(result, "\\x%02x", control);
        } else {
          absl::StrAppendFormat(result, "\\u%04x", control);
        }
      },
      [](unsigned char byte, std::string* result) {
        absl::StrAppendFormat(result, "\\x%02x", byte);
      });
}

std::string PlainText(std::string_view text) { return Sanitize(text, /*keep_lines=*/false); }

std::string PlainTextLines(std::string_view text) { return Sanitize(text, /*keep_lines=*/true); }

std::string ShellWord(std::string_view text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+,:@%=";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string_view::npos)
    return std::string(text);
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? "'\\''" : std::string(1, c);
  return word + "'";
}

}  // namespace trainerd
