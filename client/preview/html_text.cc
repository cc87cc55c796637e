// SPDX-License-Identifier: Apache-2.0
#include "client/preview/html_text.h"

#include <utf8proc.h>

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace trainerd::client {
namespace {

struct Range {
  int32_t first;
  int32_t last;
};
// Controls without \t and \n, bidirectional controls, and what Unicode calls default ignorable,
// without variation selectors and the joiners U+200C and U+200D: those shape the characters beside
// them (emoji, Arabic). An HTML parser drops carriage returns and NUL.
constexpr Range kInvisible[] = {
    {0x00, 0x08},       {0x0b, 0x1f},       {0x7f, 0x9f},       {0xad, 0xad},
    {0x61c, 0x61c},     {0x115f, 0x1160},   {0x17b4, 0x17b5},   {0x180e, 0x180e},
    {0x200b, 0x200b},   {0x200e, 0x200f},   {0x2028, 0x202e},   {0x2060, 0x206f},
    {0x3164, 0x3164},   {0xfdd0, 0xfdef},   {0xfeff, 0xfeff},   {0xffa0, 0xffa0},
    {0xfff0, 0xfffb},   {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe00ff},
    {0xe01f0, 0xe0fff},
};

bool IsInvisible(int32_t code_point) {
  // The last two code points of each plane are not characters.
  if ((code_point & 0xfffe) == 0xfffe) return true;
  for (const Range& range : kInvisible) {
    if (code_point >= range.first && code_point <= range.last) return true;
  }
  return false;
}

// Removes the first character of `text` and returns it; U+FFFD for an invalid byte.
int32_t TakeCharacter(std::string_view* text) {
  utf8proc_int32_t code_point = -1;
  const utf8proc_ssize_t bytes =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text->data()),
                       static_cast<utf8proc_ssize_t>(text->size()), &code_point);
  text->remove_prefix(bytes > 0 ? static_cast<size_t>(bytes) : 1);
  return bytes > 0 ? code_point : 0xfffd;
}

void AppendCharacter(int32_t code_point, std::string* html) {
  switch (code_point) {
    case '&':
      html->append("&amp;");
      return;
    case '<':
      html->append("&lt;");
      return;
    case '>':
      html->append("&gt;");
      return;
    case '"':
      html->append("&quot;");
      return;
    case '\'':
      html->append("&#39;");
      return;
    default: {
      utf8proc_uint8_t bytes[4];
      const utf8proc_ssize_t size = utf8proc_encode_char(code_point, bytes);
      html->append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
    }
  }
}

std::string Code(int32_t code_point) { return absl::StrFormat("U+%04X", code_point); }

}  // namespace

std::string HtmlText(std::string_view text) {
  std::string html;
  while (!text.empty()) {
    const int32_t code_point = TakeCharacter(&text);
    if (IsInvisible(code_point)) {
      html += Code(code_point);
    } else {
      AppendCharacter(code_point, &html);
    }
  }
  return html;
}

std::string HtmlOfTokens(std::string_view text) {
  std::string html;
  while (!text.empty()) {
    const int32_t code_point = TakeCharacter(&text);
    if (code_point == '\n') {
      html += "<i class=\"n\">\n</i>";
    } else if (code_point == '\t') {
      html += "<i class=\"t\">\t</i>";
    } else if (IsInvisible(code_point)) {
      absl::StrAppend(&html, "<i class=\"c\">", Code(code_point), "</i>");
    } else {
      AppendCharacter(code_point, &html);
    }
  }
  return html;
}

std::string HtmlLine(std::string_view text) {
  std::string html;
  for (const char c : HtmlText(text)) {
    if (c == '\n') {
      html += "\\n";
    } else if (c == '\t') {
      html += "\\t";
    } else {
      html += c;
    }
  }
  return html;
}

}  // namespace trainerd::client
