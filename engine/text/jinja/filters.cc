// SPDX-License-Identifier: Apache-2.0
// Filters that take one value (interpreter.h). Filters over lists are in list_filters.cc.
// Source: Jinja 3.1, jinja2/filters.py; tojson as transformers defines it.
#include "engine/text/jinja/filters.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/text/jinja/printf.h"
#include "engine/text/jinja/value/text_functions.h"

namespace trainerd::engine::jinja {
namespace {

absl::string_view View(std::string_view s) { return absl::string_view(s.data(), s.size()); }

template <Case how>
bool ChangeCase(Interpreter&, const Value& self, const Bound&, Value* out) {
  *out = Value::String(MapCase(ToText(self), how));
  return true;
}

bool Trim(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  std::string_view characters;
  if (a.has(0) && !a.StringOr(in, 0, "", &characters)) return false;
  *out = Value::String(Strip(ToText(self), a.has(0) ? &characters : nullptr, true, true));
  return true;
}

bool ToStringValue(Interpreter&, const Value& self, const Bound&, Value* out) {
  *out = self.is(Type::kString) ? self : Value::String(ToText(self));
  return true;
}

// The HTML escape of a character; "" = the character itself.
std::string_view HtmlEscape(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '\'':
      return "&#39;";
    case '"':
      return "&#34;";
    default:
      return "";
  }
}

bool Escape(Interpreter&, const Value& self, const Bound&, Value* out) {
  const TaggedText text = ToText(self);
  TaggedText escaped;
  text.ForEachRun([&](size_t begin, size_t end, Tag tag) {
    for (size_t i = begin; i < end; ++i) {
      const std::string_view escape = HtmlEscape(text.text()[i]);
      escaped.Append(escape.empty() ? std::string_view(&text.text()[i], 1) : escape, tag);
    }
  });
  *out = Value::String(std::move(escaped));
  return true;
}

bool Default(Interpreter&, const Value& self, const Bound& a, Value* out) {
  const bool use = self.is(Type::kUndefined) || (a.IsTrueOr(1, false) && !IsTrue(self));
  *out = !use ? self : (a[0] != nullptr ? *a[0] : Value::String(""));
  return true;
}

bool Length(Interpreter& in, const Value& self, const Bound&, Value* out) {
  int64_t length = 0;
  switch (self.type()) {
    case Type::kString:
      length = CountCodePoints(self.str());
      break;
    case Type::kList:
    case Type::kTuple:
      length = static_cast<int64_t>(self.items().size());
      break;
    case Type::kDict:
      length = static_cast<int64_t>(self.entries().size());
      break;
    case Type::kUndefined:
      break;
    default:
      return in.Fail(absl::StrCat("object of type '", View(TypeName(self)), "' has no len()"));
  }
  *out = Value::Int(length);
  return true;
}

bool ToJson(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  JsonStyle style;
  style.ensure_ascii = a.IsTrueOr(0, false);
  style.sort_keys = a.IsTrueOr(3, false);
  if (a.has(1)) {
    style.item_separator.assign(1, ',');
    if (a[1]->is(Type::kString)) {
      style.indent = 0;
      style.indent_text = a[1]->str();
    } else if (a[1]->is_integer()) {
      style.indent = static_cast<int>(std::clamp<int64_t>(a[1]->integer(), 0, 100));
    } else {
      return in.Fail("tojson: indent must be a number or a string");
    }
  }
  if (a.has(2)) {
    if (!a[2]->is_sequence() || a[2]->items().size() != 2 || !a[2]->items()[0].is(Type::kString) ||
        !a[2]->items()[1].is(Type::kString)) {
      return in.Fail("tojson: separators must be two strings");
    }
    style.item_separator = a[2]->items()[0].str();
    style.key_separator = a[2]->items()[1].str();
  }
  TaggedText text;
  if (!AppendJson(in, self, style, &text)) return false;
  *out = Value::String(std::move(text));
  return true;
}

bool ReplaceText(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  int64_t count = -1;
  if (a.has(2) && !a.IntegerOr(in, 2, -1, &count)) return false;
  const TaggedText text = ToText(self), from = ToText(*a[0]), to = ToText(*a[1]);
  const size_t matches = from.empty() ? text.size() + 1 : text.size() / from.size();
  if (!to.empty() && matches > kMaxTextBytes / to.size()) return in.CheckTextSize(SIZE_MAX);
  *out = Value::String(Replace(text, from.text(), to, count));
  return true;
}

bool Indent(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  std::string indention = "    ";
  if (a.has(0)) {
    if (a[0]->is(Type::kString)) {
      indention = a[0]->str();
    } else if (a[0]->is_integer()) {
      indention.assign(static_cast<size_t>(std::clamp<int64_t>(a[0]->integer(), 0, 1000)), ' ');
    } else {
      return in.Fail("indent: width must be a number or a string");
    }
  }
  const bool first = a.IsTrueOr(1, false), blank = a.IsTrueOr(2, false);
  TaggedText text = ToText(self);
  text.Append("\n", text.TagAt(text.size()));
  const std::vector<TaggedText> lines = SplitLines(text, /*keep_ends=*/false);
  TaggedText result;
  for (size_t i = 0; i < lines.size(); ++i) {
    const Tag tag = lines[i].empty() ? result.TagAt(result.size()) : lines[i].TagAt(0);
    if (i > 0) result.Append("\n", tag);
    if (i == 0 ? first : (blank || !lines[i].empty())) result.Append(indention, tag);
    result.Append(lines[i]);
    if (!in.CheckTextSize(result.size())) return false;
  }
  *out = Value::String(std::move(result));
  return true;
}

// Python's float(text), which ignores surrounding white space.
bool ParseFloat(const std::string& text, double* out) {
  const TaggedText stripped = Strip(TaggedText(text, {}), nullptr, true, true);
  return absl::SimpleAtod(stripped.text(), out);
}

bool ToInteger(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  const Value otherwise = a[0] != nullptr ? *a[0] : Value::Int(0);
  int64_t base = 10;
  if (!a.IntegerOr(in, 1, 10, &base)) return false;
  if (base < 2 || base > 36) return in.Fail("int: base must be 2 to 36");
  double number = 0;
  if (self.is(Type::kString)) {
    const TaggedText stripped = Strip(self.text(), nullptr, true, true);
    std::string_view digits = stripped.text();
    if (!digits.empty() && digits[0] == '+') digits.remove_prefix(1);
    // Python accepts the prefix that belongs to the base.
    const std::string_view prefix = base == 2 ? "0b" : base == 8 ? "0o" : base == 16 ? "0x" : "";
    if (!prefix.empty() && absl::StartsWithIgnoreCase(View(digits), View(prefix)) &&
        digits.substr(2, 1) != "-") {
      digits.remove_prefix(prefix.size());
    }
    int64_t value = 0;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value,
                                        static_cast<int>(base));
    if (!digits.empty() && result.ec == std::errc() &&
        result.ptr == digits.data() + digits.size()) {
      *out = Value::Int(value);
      return true;
    }
    if (!ParseFloat(self.str(), &number)) {
      *out = otherwise;
      return true;
    }
  } else if (self.is_integer()) {
    *out = Value::Int(self.integer());
    return true;
  } else if (self.is(Type::kFloat)) {
    number = self.number();
  } else {
    *out = otherwise;
    return true;
  }
  *out = std::isfinite(number) && std::fabs(number) < 9.2e18
             ? Value::Int(static_cast<int64_t>(number))
             : otherwise;
  return true;
}

bool ToFloat(Interpreter&, const Value& self, const Bound& a, Value* out) {
  double number = 0;
  if (self.is_number()) {
    *out = Value::Float(self.number());
  } else if (self.is(Type::kString) && ParseFloat(self.str(), &number)) {
    *out = Value::Float(number);
  } else {
    *out = a[0] != nullptr ? *a[0] : Value::Float(0);
  }
  return true;
}

bool Absolute(Interpreter& in, const Value& self, const Bound&, Value* out) {
  if (!self.is_number()) return in.Fail("abs: expected a number");
  if (self.is(Type::kFloat)) {
    *out = Value::Float(std::fabs(self.number()));
    return true;
  }
  if (self.integer() == INT64_MIN) return in.Fail("integer overflow");
  *out = Value::Int(std::abs(self.integer()));
  return true;
}

bool Round(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  int64_t precision = 0;
  std::string_view method;
  if (!self.is_number()) return in.Fail("round: expected a number");
  if (!a.IntegerOr(in, 0, 0, &precision) || !a.StringOr(in, 1, "common", &method)) return false;
  if (precision < 0 || precision > 300) return in.Fail("round: precision must be 0 to 300");
  double result = self.number();
  if (method == "common") {
    // Rounding through decimal digits gives what Python gives.
    char buffer[700];
    const int size =
        std::snprintf(buffer, sizeof(buffer), "%.*f", static_cast<int>(precision), result);
    if (size <= 0 ||
        !absl::SimpleAtod(absl::string_view(buffer, static_cast<size_t>(size)), &result)) {
      return in.Fail("round: not a number");
    }
  } else if (method == "ceil" || method == "floor") {
    const double scale = std::pow(10.0, static_cast<double>(precision));
    result = (method == "ceil" ? std::ceil(result * scale) : std::floor(result * scale)) / scale;
  } else {
    return in.Fail("round: method must be common, ceil or floor");
  }
  *out = Value::Float(result);
  return true;
}

bool Center(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  Arguments arguments;
  arguments.positional.push_back(a[0] != nullptr ? *a[0] : Value::Int(80));
  return CallMethod(in, Value::String(ToText(self)), "center", arguments, out);
}

bool Attribute(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  std::string_view name;
  if (!a.StringOr(in, 0, "", &name)) return false;
  // Unlike d.name, the filter never returns an item of a mapping.
  if (self.is(Type::kDict) && !HasMethod(self, name)) {
    *out = Value::Undefined(absl::StrCat("'dict object' has no attribute '", View(name), "'"));
    return true;
  }
  return in.GetAttribute(self, name, out);
}

constexpr FilterEntry kFilters[] = {
    {"upper", ChangeCase<Case::kUpper>, ""},
    {"lower", ChangeCase<Case::kLower>, ""},
    {"capitalize", ChangeCase<Case::kCapitalize>, ""},
    {"title", ChangeCase<Case::kTitleWords>, ""},
    {"trim", Trim, "chars"},
    {"string", ToStringValue, ""},
    {"safe", ToStringValue, ""},
    {"escape", Escape, ""},
    {"e", Escape, ""},
    {"forceescape", Escape, ""},
    {"default", Default, "default_value,boolean"},
    {"d", Default, "default_value,boolean"},
    {"length", Length, ""},
    {"count", Length, ""},
    {"tojson", ToJson, "ensure_ascii,indent,separators,sort_keys"},
    {"replace", ReplaceText, "!old,!new,count"},
    {"indent", Indent, "width,first,blank"},
    {"int", ToInteger, "default,base"},
    {"float", ToFloat, "default"},
    {"abs", Absolute, ""},
    {"round", Round, "precision,method"},
    {"center", Center, "width"},
    {"attr", Attribute, "!name"},
};

}  // namespace

bool IsKnownFilter(std::string_view name) {
  const auto has = [&](const FilterEntry& entry) { return entry.name == name; };
  const auto lists = ListFilters();
  return name == "format" || name == "map" || IsSelection(name) ||
         std::any_of(std::begin(kFilters), std::end(kFilters), has) ||
         std::any_of(lists.begin(), lists.end(), has);
}

bool CallFilter(Interpreter& in, std::string_view name, const Value& self,
                const Arguments& arguments, bool* known, Value* out) {
  *known = true;
  if (name == "format") {
    return arguments.named.empty() ? FormatPercent(in, ToText(self), arguments.positional, out)
                                   : in.Fail("format: named arguments are not supported");
  }
  if (name == "map") return MapFilter(in, self, arguments, out);
  if (IsSelection(name)) return SelectionFilter(in, name, self, arguments, out);
  const auto call = [&](const FilterEntry& entry) {
    Bound bound;
    return bound.Bind(in, name, entry.parameters, arguments) && entry.filter(in, self, bound, out);
  };
  for (const FilterEntry& entry : kFilters) {
    if (entry.name == name) return call(entry);
  }
  for (const FilterEntry& entry : ListFilters()) {
    if (entry.name == name) return call(entry);
  }
  *known = false;
  return false;
}

}  // namespace trainerd::engine::jinja
