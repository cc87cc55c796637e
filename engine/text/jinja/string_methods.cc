// SPDX-License-Identifier: Apache-2.0
// Methods of Python's str (methods.h).
#include <algorithm>

#include "engine/text/jinja/methods.h"
#include "engine/text/jinja/value/text_functions.h"
#include "engine/text/unicode/unicode_tables.h"
#include "proto/base/utf8.h"
#include "utf8proc.h"

namespace trainerd::engine::jinja {
namespace {

constexpr size_t kNone = std::string_view::npos;

Value ListOf(std::vector<TaggedText> parts) {
  std::vector<Value> items;
  items.reserve(parts.size());
  for (TaggedText& part : parts) items.push_back(Value::String(std::move(part)));
  return Value::List(std::move(items));
}

template <Case how>
bool ChangeCase(Interpreter&, const Value& self, const Bound&, Value* out) {
  *out = Value::String(MapCase(self.text(), how));
  return true;
}

template <bool left, bool right>
bool StripText(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  std::string_view characters;
  if (a.has(0) && !a.StringOr(in, 0, "", &characters)) return false;
  *out = Value::String(Strip(self.text(), a.has(0) ? &characters : nullptr, left, right));
  return true;
}

template <bool from_right>
bool SplitText(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  std::string_view separator;
  int64_t max_splits = -1;
  if (a.has(0) && !a.StringOr(in, 0, "", &separator)) return false;
  if (!a.IntegerOr(in, 1, -1, &max_splits)) return false;
  if (a.has(0) && separator.empty()) return in.Fail("empty separator");
  *out = ListOf(Split(self.text(), a.has(0) ? &separator : nullptr, max_splits, from_right));
  return true;
}

bool SplitTextLines(Interpreter&, const Value& self, const Bound& a, Value* out) {
  *out = ListOf(SplitLines(self.text(), a.IsTrueOr(0, false)));
  return true;
}

template <bool from_right>
bool Partition(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  std::string_view separator;
  if (!a.StringOr(in, 0, "", &separator)) return false;
  if (separator.empty()) return in.Fail("empty separator");
  const TaggedText& text = self.text();
  const size_t at = from_right ? text.text().rfind(separator) : text.text().find(separator);
  std::vector<Value> parts(3, Value::String(""));
  if (at == kNone) {
    parts[from_right ? 2 : 0] = self;
  } else {
    parts[0] = Value::String(text.Slice(0, at));
    parts[1] = Value::String(text.Slice(at, at + separator.size()));
    parts[2] = Value::String(text.Slice(at + separator.size(), text.size()));
  }
  *out = Value::Tuple(std::move(parts));
  return true;
}

// self[start:end], the range in which several methods search.
bool Range(Interpreter& in, const Value& self, const Bound& a, size_t first, Value* out) {
  if (!a.has(first) && !a.has(first + 1)) {
    *out = self;
    return true;
  }
  return SliceValue(in, self, a.has(first) ? *a[first] : Value(),
                    a.has(first + 1) ? *a[first + 1] : Value(), Value(), out);
}

template <bool at_end>
bool StartsOrEndsWith(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  Value range;
  if (!Range(in, self, a, 1, &range)) return false;
  std::vector<Value> options = {*a[0]};
  if (a[0]->is(Type::kTuple)) options = a[0]->items();
  const std::string_view s = range.str();
  bool found = false;
  for (const Value& option : options) {
    if (!in.ExpectString(option, "argument")) return false;
    const std::string_view part = option.str();
    if (part.size() > s.size()) continue;
    found |= s.substr(at_end ? s.size() - part.size() : 0, part.size()) == part;
  }
  *out = Value::Bool(found);
  return true;
}

template <bool from_right, bool must_exist>
bool FindText(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  std::string_view part;
  Value range;
  if (!a.StringOr(in, 0, "", &part) || !Range(in, self, a, 1, &range)) return false;
  const std::string_view s = range.str();
  const size_t at = from_right ? s.rfind(part) : s.find(part);
  if (at == kNone) {
    if (must_exist) return in.Fail("substring not found");
    *out = Value::Int(-1);
    return true;
  }
  int64_t start = 0;
  if (a.has(1)) {
    const int64_t size = CountCodePoints(self.str());
    start = a[1]->integer() < 0 ? std::max<int64_t>(a[1]->integer() + size, 0) : a[1]->integer();
  }
  *out = Value::Int(start + CountCodePoints(s.substr(0, at)));
  return true;
}

bool CountText(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  std::string_view part;
  Value range;
  if (!a.StringOr(in, 0, "", &part) || !Range(in, self, a, 1, &range)) return false;
  const std::string_view s = range.str();
  int64_t count = part.empty() ? CountCodePoints(s) + 1 : 0;
  for (size_t at = 0; !part.empty() && (at = s.find(part, at)) != kNone; at += part.size()) ++count;
  *out = Value::Int(count);
  return true;
}

bool ReplaceText(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  int64_t count = -1;
  if (!in.ExpectString(*a[0], "argument") || !in.ExpectString(*a[1], "argument") ||
      !a.IntegerOr(in, 2, -1, &count)) {
    return false;
  }
  const size_t matches =
      a[0]->text().empty() ? self.text().size() + 1 : self.text().size() / a[0]->text().size();
  if (a[1]->text().size() > 0 && matches > kMaxTextBytes / a[1]->text().size()) {
    return in.CheckTextSize(SIZE_MAX);
  }
  *out = Value::String(Replace(self.text(), a[0]->str(), a[1]->text(), count));
  return true;
}

bool JoinText(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  std::vector<Value> items;
  if (!in.Iterate(*a[0], &items)) return false;
  TaggedText text;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!in.ExpectString(items[i], "item of join")) return false;
    if (i > 0) text.Append(self.text());
    text.Append(items[i].text());
    if (!in.CheckTextSize(text.size())) return false;
  }
  *out = Value::String(std::move(text));
  return true;
}

template <bool suffix>
bool RemoveAffix(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  std::string_view part;
  if (!a.StringOr(in, 0, "", &part)) return false;
  const std::string_view s = self.str();
  const size_t size = s.size(), n = part.size();
  const bool found = n <= size && s.substr(suffix ? size - n : 0, n) == part;
  *out = !found
             ? self
             : Value::String(suffix ? self.text().Slice(0, size - n) : self.text().Slice(n, size));
  return true;
}

// str.isX(): at least one character, and `is` holds for all.
template <bool (*is)(uint32_t)>
bool AllCharacters(Interpreter&, const Value& self, const Bound&, Value* out) {
  const std::string& s = self.str();
  bool all = !s.empty();
  for (size_t at = 0; at < s.size() && all;) {
    int size;
    all = is(DecodeUtf8(s.data() + at, &size));
    at += static_cast<size_t>(size);
  }
  *out = Value::Bool(all);
  return true;
}
bool IsAlpha(uint32_t c) { return (unicode::ClassOf(c) & unicode::kLetter) != 0; }
bool IsNumeric(uint32_t c) { return (unicode::ClassOf(c) & unicode::kRustNumeric) != 0; }
bool IsDecimal(uint32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_ND;
}
// Beyond decimals: superscripts, subscripts, circled digits.
bool IsDigit(uint32_t c) {
  return IsDecimal(c) || c == 0xB2 || c == 0xB3 || c == 0xB9 || c == 0x2070 ||
         (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089) ||
         (c >= 0x2460 && c <= 0x2468) || (c >= 0x2474 && c <= 0x247C) ||
         (c >= 0x2488 && c <= 0x2490);
}
bool IsAlnum(uint32_t c) { return IsAlpha(c) || IsNumeric(c); }

template <Case own, Case other>
bool AllOfCase(Interpreter&, const Value& self, const Bound&, Value* out) {
  const TaggedText& text = self.text();
  *out = Value::Bool(MapCase(text, own).text() == text.text() &&
                     MapCase(text, other).text() != text.text());
  return true;
}

// Pads to a width with ljust (-1), center (0) or rjust (1).
template <int side>
bool Justify(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  int64_t width = 0;
  std::string_view fill = " ";
  if (!a.IntegerOr(in, 0, 0, &width) || !a.StringOr(in, 1, " ", &fill)) return false;
  if (CountCodePoints(fill) != 1) return in.Fail("the fill character must be one character long");
  const int64_t missing = std::max<int64_t>(width - CountCodePoints(self.str()), 0);
  if (missing > 0 && !in.CheckTextSize(static_cast<size_t>(missing) * fill.size())) return false;
  // Python's center puts the odd blank on the left if the width is odd.
  const int64_t left = side < 0 ? 0 : (side > 0 ? missing : missing / 2 + (missing & width & 1));
  TaggedText text;
  for (int64_t i = 0; i < left; ++i) text.Append(fill, self.text().TagAt(0));
  text.Append(self.text());
  for (int64_t i = left; i < missing; ++i) text.Append(fill, self.text().TagAt(text.size()));
  *out = Value::String(std::move(text));
  return true;
}

bool ZeroFill(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  int64_t width = 0;
  if (!a.IntegerOr(in, 0, 0, &width)) return false;
  const TaggedText& text = self.text();
  const bool sign = !text.empty() && (text.text()[0] == '-' || text.text()[0] == '+');
  const int64_t missing = std::max<int64_t>(width - CountCodePoints(text.text()), 0);
  if (!in.CheckTextSize(static_cast<size_t>(missing))) return false;
  TaggedText filled = text.Slice(0, sign ? 1 : 0);
  filled.Append(std::string(static_cast<size_t>(missing), '0'), text.TagAt(0));
  filled.AppendRange(text, sign ? 1 : 0, text.size());
  *out = Value::String(std::move(filled));
  return true;
}

constexpr MethodEntry kStringMethods[] = {
    {"upper", ChangeCase<Case::kUpper>, ""},
    {"lower", ChangeCase<Case::kLower>, ""},
    {"casefold", ChangeCase<Case::kLower>, ""},
    {"title", ChangeCase<Case::kTitle>, ""},
    {"capitalize", ChangeCase<Case::kCapitalize>, ""},
    {"strip", StripText<true, true>, "chars"},
    {"lstrip", StripText<true, false>, "chars"},
    {"rstrip", StripText<false, true>, "chars"},
    {"split", SplitText<false>, "sep,maxsplit"},
    {"rsplit", SplitText<true>, "sep,maxsplit"},
    {"splitlines", SplitTextLines, "keepends"},
    {"partition", Partition<false>, "!sep"},
    {"rpartition", Partition<true>, "!sep"},
    {"startswith", StartsOrEndsWith<false>, "!prefix,start,end"},
    {"endswith", StartsOrEndsWith<true>, "!suffix,start,end"},
    {"find", FindText<false, false>, "!sub,start,end"},
    {"rfind", FindText<true, false>, "!sub,start,end"},
    {"index", FindText<false, true>, "!sub,start,end"},
    {"rindex", FindText<true, true>, "!sub,start,end"},
    {"count", CountText, "!sub,start,end"},
    {"replace", ReplaceText, "!old,!new,count"},
    {"join", JoinText, "!iterable"},
    {"removeprefix", RemoveAffix<false>, "!prefix"},
    {"removesuffix", RemoveAffix<true>, "!suffix"},
    {"isdigit", AllCharacters<IsDigit>, ""},
    {"isdecimal", AllCharacters<IsDecimal>, ""},
    {"isnumeric", AllCharacters<IsNumeric>, ""},
    {"isalpha", AllCharacters<IsAlpha>, ""},
    {"isalnum", AllCharacters<IsAlnum>, ""},
    {"isspace", AllCharacters<IsPythonSpace>, ""},
    {"islower", AllOfCase<Case::kLower, Case::kUpper>, ""},
    {"isupper", AllOfCase<Case::kUpper, Case::kLower>, ""},
    {"ljust", Justify<-1>, "!width,fillchar"},
    {"center", Justify<0>, "!width,fillchar"},
    {"rjust", Justify<1>, "!width,fillchar"},
    {"zfill", ZeroFill, "!width"},
    {"format", nullptr, ""},  // takes any arguments
};

}  // namespace

absl::Span<const MethodEntry> StringMethods() { return kStringMethods; }

}  // namespace trainerd::engine::jinja
