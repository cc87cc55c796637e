// SPDX-License-Identifier: Apache-2.0
#include "proto/base/utf8.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>

namespace trainerd {
namespace {

// Size of the character at the start of `text`, which is not empty; 0 if none is there.
size_t CharacterSize(std::string_view text) {
  utf8proc_int32_t code_point;
  const utf8proc_ssize_t size =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                       static_cast<utf8proc_ssize_t>(text.size()), &code_point);
  return size > 0 ? static_cast<size_t>(size) : 0;
}

// Size of the longest prefix of `text` that more bytes could complete to a character; 0 if none.
// `text` is not empty and does not start with a character.
size_t IncompleteSize(std::string_view text) {
  const auto lead = static_cast<uint8_t>(text[0]);
  if (lead < 0xC2 || lead > 0xF4) return 0;
  // Only the second byte of a character has a range that depends on the lead byte (Unicode, table
  // 3-7), so from two bytes on any continuation bytes complete a prefix that can be completed.
  for (size_t size = std::min<size_t>(text.size(), 3); size >= 2; --size) {
    char completed[4] = {'\x80', '\x80', '\x80', '\x80'};
    std::memcpy(completed, text.data(), size);
    if (CharacterSize({completed, sizeof(completed)}) > size) return size;
  }
  return 1;
}

// Size of the longest valid prefix of `text`.
size_t ValidPrefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    uint64_t eight;
    if (text.size() - at >= sizeof(eight)) {
      std::memcpy(&eight, text.data() + at, sizeof(eight));
      if ((eight & 0x8080808080808080u) == 0) {
        at += sizeof(eight);
        continue;
      }
    }
    const bool ascii = static_cast<uint8_t>(text[at]) < 0x80;
    const size_t size = ascii ? 1 : CharacterSize(text.substr(at));
    if (size == 0) break;
    at += size;
  }
  return at;
}

void AppendReplacing(std::string_view bytes, std::string_view replacement, std::string* out,
                     size_t* held) {
  if (held != nullptr) *held = 0;
  while (!bytes.empty()) {
    const size_t valid = ValidPrefix(bytes);
    out->append(bytes.substr(0, valid));
    bytes.remove_prefix(valid);
    if (bytes.empty()) return;
    const size_t incomplete = IncompleteSize(bytes);
    if (held != nullptr && incomplete == bytes.size()) {
      *held = incomplete;
      return;
    }
    out->append(replacement);
    bytes.remove_prefix(std::max<size_t>(incomplete, 1));
  }
}

}  // namespace

void AppendUtf8(uint32_t code_point, std::string* out) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t size =
      utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), bytes);
  out->append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
}

size_t FindInvalidUtf8(std::string_view text) {
  const size_t valid = ValidPrefix(text);
  return valid == text.size() ? std::string_view::npos : valid;
}

void AppendLossyUtf8(std::string_view bytes, std::string* out, size_t* held) {
  AppendReplacing(bytes, "\xEF\xBF\xBD", out, held);
}

std::string ToValidUtf8(std::string_view bytes) {
  std::string text;
  AppendReplacing(bytes, "?", &text, nullptr);
  return text;
}

}  // namespace trainerd
