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
};

// Length of the color sequence at the beginning of `text`; 0 if there is none.
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
    return piece;
  }
  piece.bytes = static_cast<size_t>(bytes);
  piece.columns = std::max(0, utf8proc_charwidth(code_point));
  return piece;
}

}  // namespace

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
    // One column is for the mark of the cut.
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
