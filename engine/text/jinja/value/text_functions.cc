// SPDX-License-Identifier: Apache-2.0
#include "engine/text/jinja/value/text_functions.h"

#include <algorithm>
#include <functional>

#include "proto/base/utf8.h"
#include "utf8proc.h"

namespace trainerd::engine::jinja {
namespace {

constexpr size_t kNone = std::string_view::npos;

bool IsCased(uint32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
         category == UTF8PROC_CATEGORY_LT;
}

void AppendUpper(uint32_t c, std::string* out) {
  // Characters whose upper case is several characters (Unicode SpecialCasing.txt).
  static constexpr std::pair<uint32_t, std::string_view> kSpecial[] = {
      {0xDF, "SS"},   {0x149, "ʼN"},   {0x1F0, "J̌"},    {0xFB00, "FF"}, {0xFB01, "FI"},
      {0xFB02, "FL"}, {0xFB03, "FFI"}, {0xFB04, "FFL"}, {0xFB05, "ST"}, {0xFB06, "ST"}};
  for (const auto& [from, to] : kSpecial) {
    if (from == c) {
      out->append(to);
      return;
    }
  }
  AppendUtf8(static_cast<uint32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))), out);
}

void AppendLower(uint32_t c, std::string* out) {
  if (c == 0x130) {  // İ
    out->append("i̇");
    return;
  }
  AppendUtf8(static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), out);
}

// The offset of the character that ends at `end`.
size_t CharBegin(std::string_view s, size_t end) {
  --end;
  while (end > 0 && (s[end] & 0xC0) == 0x80) --end;
  return end;
}

uint32_t CharAt(std::string_view s, size_t at, size_t* size) {
  int bytes;
  const uint32_t c = DecodeUtf8(s.data() + at, &bytes);
  *size = static_cast<size_t>(bytes);
  return c;
}

bool HasChar(std::string_view characters, uint32_t c) {
  for (size_t at = 0, size = 0; at < characters.size(); at += size) {
    if (CharAt(characters, at, &size) == c) return true;
  }
  return false;
}

std::vector<TaggedText> SplitWhiteSpace(const TaggedText& text, int64_t max_splits,
                                        bool from_right) {
  const std::string& s = text.text();
  std::vector<TaggedText> parts;
  size_t size = 0;
  if (from_right) {
    size_t end = s.size();
    while (true) {
      while (end > 0 && IsPythonSpace(CharAt(s, CharBegin(s, end), &size))) end = CharBegin(s, end);
      if (end == 0) break;
      size_t begin = end;
      if (max_splits >= 0 && static_cast<int64_t>(parts.size()) == max_splits) {
        begin = 0;
        while (IsPythonSpace(CharAt(s, begin, &size))) begin += size;
        begin = 0;  // rsplit keeps the rest in front, with its leading white space
      } else {
        while (begin > 0 && !IsPythonSpace(CharAt(s, CharBegin(s, begin), &size))) {
          begin = CharBegin(s, begin);
        }
      }
      parts.push_back(text.Slice(begin, end));
      end = begin;
    }
    std::reverse(parts.begin(), parts.end());
    return parts;
  }
  size_t begin = 0;
  while (true) {
    while (begin < s.size() && IsPythonSpace(CharAt(s, begin, &size))) begin += size;
    if (begin == s.size()) return parts;
    size_t end = begin;
    if (max_splits >= 0 && static_cast<int64_t>(parts.size()) == max_splits) {
      end = s.size();
    } else {
      while (end < s.size() && !IsPythonSpace(CharAt(s, end, &size))) end += size;
    }
    parts.push_back(text.Slice(begin, end));
    begin = end;
  }
}

}  // namespace

bool IsPythonSpace(uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

TaggedText MapCase(const TaggedText& text, Case how) {
  const std::string& s = text.text();
  TaggedText out;
  bool start = true;  // the next letter begins a word
  text.ForEachRun([&](size_t begin, size_t end, Tag tag) {
    std::string mapped;
    for (size_t at = begin, size = 0; at < end; at += size) {
      const uint32_t c = CharAt(s, at, &size);
      const bool upper = how == Case::kUpper || (how != Case::kLower && start);
      if (upper) {
        AppendUpper(c, &mapped);
      } else {
        AppendLower(c, &mapped);
      }
      if (how == Case::kCapitalize) start = false;
      if (how == Case::kTitle) start = !IsCased(c);
      if (how == Case::kTitleWords) {
        start = IsPythonSpace(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
      }
    }
    out.Append(mapped, tag);
  });
  return out;
}

TaggedText Strip(const TaggedText& text, const std::string_view* characters, bool left,
                 bool right) {
  const std::string& s = text.text();
  const auto strips = [&](uint32_t c) {
    return characters == nullptr ? IsPythonSpace(c) : HasChar(*characters, c);
  };
  size_t begin = 0, end = s.size(), size = 0;
  while (left && begin < end && strips(CharAt(s, begin, &size))) begin += size;
  while (right && end > begin && strips(CharAt(s, CharBegin(s, end), &size))) {
    end = CharBegin(s, end);
  }
  return text.Slice(begin, end);
}

std::vector<TaggedText> Split(const TaggedText& text, const std::string_view* separator,
                              int64_t max_splits, bool from_right) {
  if (separator == nullptr) return SplitWhiteSpace(text, max_splits, from_right);
  const std::string& s = text.text();
  std::vector<TaggedText> parts;
  const auto may_split = [&] {
    return max_splits < 0 || static_cast<int64_t>(parts.size()) < max_splits;
  };
  if (from_right) {
    size_t end = s.size();
    while (may_split() && end >= separator->size()) {
      const size_t at = s.rfind(*separator, end - separator->size());
      if (at == kNone) break;
      parts.push_back(text.Slice(at + separator->size(), end));
      end = at;
    }
    parts.push_back(text.Slice(0, end));
    std::reverse(parts.begin(), parts.end());
    return parts;
  }
  size_t begin = 0;
  while (may_split()) {
    const size_t at = s.find(*separator, begin);
    if (at == kNone) break;
    parts.push_back(text.Slice(begin, at));
    begin = at + separator->size();
  }
  parts.push_back(text.Slice(begin, s.size()));
  return parts;
}

std::vector<TaggedText> SplitLines(const TaggedText& text, bool keep_ends) {
  const std::string& s = text.text();
  std::vector<TaggedText> lines;
  size_t begin = 0;
  for (size_t at = 0, size = 0; at < s.size();) {
    const uint32_t c = CharAt(s, at, &size);
    const size_t line_end = at;
    at += size;
    const bool is_end = (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 ||
                        c == 0x2028 || c == 0x2029;
    if (!is_end) continue;
    if (c == '\r' && at < s.size() && s[at] == '\n') ++at;
    lines.push_back(text.Slice(begin, keep_ends ? at : line_end));
    begin = at;
  }
  if (begin < s.size()) lines.push_back(text.Slice(begin, s.size()));
  return lines;
}

TaggedText Replace(const TaggedText& text, std::string_view from, const TaggedText& to,
                   int64_t count) {
  const std::string& s = text.text();
  TaggedText out;
  size_t done = 0;
  size_t at = 0;
  for (; count != 0 && at <= s.size(); --count) {
    at = s.find(from, at);
    if (at == kNone) break;
    out.AppendRange(text, done, at);
    out.Append(to);
    done = at + from.size();
    if (!from.empty()) {
      at = done;
    } else if (at < s.size()) {  // between all characters
      size_t size = 0;
      CharAt(s, at, &size);
      out.AppendRange(text, at, at + size);
      done = at = at + size;
    } else {
      ++at;
    }
  }
  out.AppendRange(text, done, s.size());
  return out;
}

}  // namespace trainerd::engine::jinja
