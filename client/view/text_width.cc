// SPDX-License-Identifier: Apache-2.0
// Character widths are those of utf8proc (East Asian wide = 2, combining marks = 0).
#include "client/view/text_width.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>

namespace trainerd::client {
namespace {

constexpr char kColorOff[] = "\x1b[0m";

struct Piece {
  size_t bytes = 0;
  int columns = 0;
  bool color = false;  // an ESC [ … m sequence
  bool valid = true;   // false: one byte that begins no UTF-8 character
  int32_t code_point = 0;
};

// Length of the colour sequence at the beginning of `text`, 0 when there is none.
size_t ColorSequence(std::string_view text) {
  if (text.size() < 3 || text[0] != '\x1b' || text[1] != '[') return 0;
  size_t i = 2;
  while (i < text.size() && (std::isdigit(static_cast<unsigned char>(text[i])) || text[i] == ';'))
    ++i;
  return i < text.size() && text[i] == 'm' ? i + 1 : 0;
}

Piece FirstPiece(std::string_view text) {
  Piece piece;
  if (const size_t color = ColorSequence(text); color > 0) {
    piece.bytes = color;
    piece.color = true;
    return piece;
  }
  utf8proc_int32_t code_point = -1;
  const utf8proc_ssize_t bytes =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                       static_cast<utf8proc_ssize_t>(text.size()), &code_point);
  if (bytes <= 0) {
    piece.bytes = 1;
    piece.columns = 1;
    piece.valid = false;
    return piece;
  }
  piece.bytes = static_cast<size_t>(bytes);
  piece.code_point = code_point;
  piece.columns = std::max(0, utf8proc_charwidth(code_point));
  return piece;
}

bool IsControl(int32_t code_point) {
  const bool c0_or_c1 = code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0);
  // Direction overrides and line separators can make a line look like another one.
  const bool direction = (code_point >= 0x202a && code_point <= 0x202e) ||
                         (code_point >= 0x2066 && code_point <= 0x2069);
  return c0_or_c1 || direction || code_point == 0x2028 || code_point == 0x2029;
}

std::string Sanitize(std::string_view text, bool keep_lines) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    Piece piece = FirstPiece(text);
    if (piece.color) piece = Piece{.bytes = 1, .code_point = 0x1b};
    const bool line = piece.valid && (piece.code_point == '\n' || piece.code_point == '\t');
    if (line) {
      result += keep_lines ? text.front() : ' ';
    } else if (!piece.valid || IsControl(piece.code_point)) {
      result += '?';
    } else {
      result.append(text.substr(0, piece.bytes));
    }
    text.remove_prefix(piece.bytes);
  }
  return result;
}

}  // namespace

std::string PlainText(std::string_view text) { return Sanitize(text, /*keep_lines=*/false); }

std::string PlainTextLines(std::string_view text) { return Sanitize(text, /*keep_lines=*/true); }

size_t WholeCharacters(std::string_view text) {
  constexpr size_t kLongestCharacter = 4;
  for (size_t back = 1; back < kLongestCharacter && back <= text.size(); ++back) {
    const unsigned char byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xc0) == 0x80) continue;  // inside a character
    const size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? text.size() - back : text.size();
  }
  return text.size();
}

int DisplayWidth(std::string_view text) {
  int columns = 0;
  while (!text.empty()) {
    const Piece piece = FirstPiece(text);
    columns += piece.columns;
    text.remove_prefix(piece.bytes);
  }
  return columns;
}

std::string FitWidth(std::string_view text, int columns, bool utf8) {
  if (DisplayWidth(text) <= columns) return std::string(text);
  if (columns <= 0) return "";
  std::string result;
  bool colored = false;
  int used = 0;
  while (!text.empty()) {
    const Piece piece = FirstPiece(text);
    // One column stays free for the mark of the cut.
    if (used + piece.columns > columns - 1) break;
    colored = colored || piece.color;
    used += piece.columns;
    result.append(text.substr(0, piece.bytes));
    text.remove_prefix(piece.bytes);
  }
  result += utf8 ? "…" : "~";
  if (colored) result += kColorOff;
  return result;
}

std::string PadRight(std::string_view text, int columns) {
  const int missing = columns - DisplayWidth(text);
  return std::string(text) + std::string(std::max(0, missing), ' ');
}

std::string PadLeft(std::string_view text, int columns) {
  const int missing = columns - DisplayWidth(text);
  return std::string(std::max(0, missing), ' ') + std::string(text);
}

}  // namespace trainerd::client
