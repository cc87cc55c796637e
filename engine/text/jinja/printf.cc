// SPDX-License-Identifier: Apache-2.0
#include "engine/text/jinja/printf.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace trainerd::engine::jinja {
namespace {

// Limit on width and precision of a field, so that a template cannot produce gigabytes of blanks.
constexpr int kMaxWidth = 1000;

struct Field {
  std::string flags;
  int width = 0;
  int precision = -1;
  char conversion = 0;
};

// Reads the field after the '%' at *at. Returns false if it is malformed.
bool ReadField(const std::string& s, size_t* at, Field* field) {
  const auto digits = [&](int* value) {
    while (*at < s.size() && s[*at] >= '0' && s[*at] <= '9') {
      *value = std::min(*value * 10 + (s[*at] - '0'), kMaxWidth);
      ++*at;
    }
  };
  while (*at < s.size() && std::string_view("-+ #0").find(s[*at]) != std::string_view::npos) {
    field->flags.push_back(s[(*at)++]);
  }
  digits(&field->width);
  if (*at < s.size() && s[*at] == '.') {
    ++*at;
    field->precision = 0;
    digits(&field->precision);
  }
  if (*at >= s.size()) return false;
  field->conversion = s[(*at)++];
  return true;
}

void AppendPadded(const TaggedText& text, const Field& field, TaggedText* out) {
  const int64_t missing = field.width - CountCodePoints(text.text());
  const std::string blanks(static_cast<size_t>(std::max<int64_t>(missing, 0)), ' ');
  const bool left = field.flags.find('-') != std::string::npos;
  if (!left) out->Append(blanks, text.TagAt(0));
  out->Append(text);
  if (left) out->Append(blanks, text.TagAt(text.size()));
}

bool AppendField(Interpreter& in, const Field& field, const Value& v, TaggedText* out) {
  if (field.conversion == 's' || field.conversion == 'r') {
    TaggedText text;
    if (field.conversion == 's') {
      AppendStr(v, &text);
    } else {
      AppendRepr(v, &text);
    }
    if (field.precision >= 0) {
      Value cut;
      if (!SliceValue(in, Value::String(std::move(text)), Value(), Value::Int(field.precision),
                      Value(), &cut)) {
        return false;
      }
      text = cut.text();
    }
    AppendPadded(text, field, out);
    return true;
  }
  const bool integer = std::string_view("diuxXoc").find(field.conversion) != std::string_view::npos;
  const bool real = std::string_view("eEfFgG").find(field.conversion) != std::string_view::npos;
  if ((!integer && !real) || field.conversion == 'c') {
    return in.Fail(
        absl::StrCat("format character '", std::string(1, field.conversion), "' is not supported"));
  }
  if (!v.is_number()) return in.Fail("format character needs a number");
  std::string format = absl::StrCat("%", field.flags);
  if (field.width > 0) absl::StrAppend(&format, field.width);
  if (field.precision >= 0) absl::StrAppend(&format, ".", field.precision);
  char buffer[2 * kMaxWidth + 512];
  if (integer) {
    const char conversion = field.conversion == 'u' ? 'd' : field.conversion;
    const auto number = v.is(Type::kFloat)
                            ? static_cast<int64_t>(std::clamp(v.number(), -9.2e18, 9.2e18))
                            : v.integer();
    format += std::string("ll") + conversion;
    std::snprintf(buffer, sizeof(buffer), format.c_str(), static_cast<long long>(number));
  } else {
    format += field.conversion;
    std::snprintf(buffer, sizeof(buffer), format.c_str(), v.number());
  }
  out->Append(buffer, v.tag());
  return true;
}

}  // namespace

bool FormatPercent(Interpreter& in, const TaggedText& format, const std::vector<Value>& values,
                   Value* out) {
  const std::string& s = format.text();
  TaggedText text;
  size_t used = 0;
  for (size_t at = 0; at < s.size();) {
    const size_t percent = std::min(s.find('%', at), s.size());
    text.AppendRange(format, at, percent);
    if (percent == s.size()) break;
    at = percent + 1;
    if (at < s.size() && s[at] == '%') {
      text.AppendRange(format, at, at + 1);
      ++at;
      continue;
    }
    Field field;
    if (!ReadField(s, &at, &field)) return in.Fail("incomplete format");
    if (used == values.size()) return in.Fail("not enough arguments for format string");
    if (!AppendField(in, field, values[used++], &text)) return false;
    if (!in.CheckTextSize(text.size())) return false;
  }
  if (used != values.size()) {
    return in.Fail("not all arguments converted during string formatting");
  }
  *out = Value::String(std::move(text));
  return true;
}

bool FormatBraces(Interpreter& in, const TaggedText& format, const Arguments& arguments,
                  Value* out) {
  const std::string& s = format.text();
  TaggedText text;
  size_t next = 0;
  for (size_t at = 0; at < s.size();) {
    const size_t brace = std::min(s.find_first_of("{}", at), s.size());
    text.AppendRange(format, at, brace);
    if (brace == s.size()) break;
    if (brace + 1 < s.size() && s[brace + 1] == s[brace]) {
      text.AppendRange(format, brace, brace + 1);
      at = brace + 2;
      continue;
    }
    const size_t close = s.find('}', brace);
    if (s[brace] == '}' || close == std::string::npos) {
      return in.Fail("single brace in format string");
    }
    const std::string name = s.substr(brace + 1, close - brace - 1);
    at = close + 1;
    const Value* value = nullptr;
    size_t index = next;
    if (name.empty()) ++next;
    if (name.empty() || absl::SimpleAtoi(name, &index)) {
      if (index < arguments.positional.size()) value = &arguments.positional[index];
    } else {
      for (const auto& [key, v] : arguments.named) {
        if (key == name) value = &v;
      }
    }
    if (value == nullptr) {
      return in.Fail(
          absl::StrCat("format field '{", name, "}' has no argument or is not supported"));
    }
    AppendStr(*value, &text);
    if (!in.CheckTextSize(text.size())) return false;
  }
  *out = Value::String(std::move(text));
  return true;
}

}  // namespace trainerd::engine::jinja
