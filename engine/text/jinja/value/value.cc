// SPDX-License-Identifier: Apache-2.0
#include "engine/text/jinja/value/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "proto/base/utf8.h"

namespace trainerd::engine::jinja {
namespace {

// The escape of a code point in Python's repr; "" = the code point itself.
std::string EscapeForRepr(uint32_t c, char quote) {
  char buffer[16];
  if (c == '\n') return "\\n";
  if (c == '\r') return "\\r";
  if (c == '\t') return "\\t";
  if (c == '\\') return "\\\\";
  if (c == static_cast<uint32_t>(quote)) return std::string("\\") + quote;
  if (c < 0x20 || (c >= 0x7F && c < 0xA1) || c == 0xAD) {
    std::snprintf(buffer, sizeof(buffer), "\\x%02x", c);
    return buffer;
  }
  const bool hidden = (c >= 0x2000 && c <= 0x200F) || (c >= 0x2028 && c <= 0x202F) ||
                      (c >= 0x205F && c <= 0x206F) || c == 0x3000 || c == 0xFEFF ||
                      (c >= 0xE000 && c <= 0xF8FF) || c == 0x1680;
  if (hidden) {
    std::snprintf(buffer, sizeof(buffer), "\\u%04x", c);
    return buffer;
  }
  return "";
}

void AppendStringRepr(const TaggedText& text, TaggedText* out) {
  const std::string& s = text.text();
  const char quote =
      s.find('\'') != std::string::npos && s.find('"') == std::string::npos ? '"' : '\'';
  out->Append(std::string_view(&quote, 1), text.TagAt(0));
  text.ForEachRun([&](size_t begin, size_t end, Tag tag) {
    for (size_t i = begin; i < end;) {
      int size;
      const uint32_t c = DecodeUtf8(s.data() + i, &size);
      const std::string escaped = EscapeForRepr(c, quote);
      const std::string_view raw = std::string_view(s).substr(i, static_cast<size_t>(size));
      out->Append(escaped.empty() ? raw : std::string_view(escaped), tag);
      i += static_cast<size_t>(size);
    }
  });
  out->Append(std::string_view(&quote, 1), text.TagAt(s.size()));
}

int DepthOf(const std::vector<Value>& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth + 1;
}

int DepthOf(const std::vector<std::pair<Value, Value>>& entries) {
  int depth = 0;
  for (const auto& [key, value] : entries) depth = std::max({depth, key.depth(), value.depth()});
  return depth + 1;
}

}  // namespace

Value Value::Undefined(std::string why) {
  Value v = String(std::move(why));
  v.type_ = Type::kUndefined;
  return v;
}
Value Value::Bool(bool b) {
  Value v;
  v.type_ = Type::kBool;
  v.int_ = b ? 1 : 0;
  return v;
}
Value Value::Int(int64_t i) {
  Value v;
  v.type_ = Type::kInt;
  v.int_ = i;
  return v;
}
Value Value::Float(double d) {
  Value v;
  v.type_ = Type::kFloat;
  v.float_ = d;
  return v;
}
Value Value::String(TaggedText text) {
  Value v;
  v.type_ = Type::kString;
  v.object_ = std::make_shared<TaggedText>(std::move(text));
  return v;
}
Value Value::List(std::vector<Value> items, Tag tag) {
  Value v;
  v.type_ = Type::kList;
  v.tag_ = tag;
  v.object_ = std::make_shared<ListObject>();
  auto& list = *static_cast<ListObject*>(v.object_.get());
  list.depth = DepthOf(items);
  list.items = std::move(items);
  return v;
}
Value Value::Tuple(std::vector<Value> items) {
  Value v = List(std::move(items));
  v.type_ = Type::kTuple;
  return v;
}
Value Value::Dict(std::vector<std::pair<Value, Value>> entries, Tag tag) {
  Value v;
  v.type_ = Type::kDict;
  v.tag_ = tag;
  v.object_ = std::make_shared<DictObject>();
  auto& dict = *static_cast<DictObject*>(v.object_.get());
  dict.depth = DepthOf(entries);
  dict.entries = std::move(entries);
  return v;
}
Value Value::Namespace(std::shared_ptr<NamespaceObject> object) {
  Value v;
  v.type_ = Type::kNamespace;
  v.object_ = std::move(object);
  return v;
}
Value Value::Loop(std::shared_ptr<LoopObject> object) {
  Value v;
  v.type_ = Type::kLoop;
  v.object_ = std::move(object);
  return v;
}
Value Value::Function(std::shared_ptr<FunctionObject> object) {
  Value v;
  v.type_ = Type::kFunction;
  v.object_ = std::move(object);
  return v;
}

Value Value::FromJson(const nlohmann::ordered_json& json, Tag tag) {
  Value v;
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::boolean:
      v = Bool(json.get<bool>());
      break;
    case nlohmann::ordered_json::value_t::number_integer:
      v = Int(json.get<int64_t>());
      break;
    case nlohmann::ordered_json::value_t::number_unsigned: {
      const auto u = json.get<uint64_t>();
      v = u <= INT64_MAX ? Int(static_cast<int64_t>(u)) : Float(static_cast<double>(u));
      break;
    }
    case nlohmann::ordered_json::value_t::number_float:
      v = Float(json.get<double>());
      break;
    case nlohmann::ordered_json::value_t::string:
      return String(json.get_ref<const std::string&>(), tag);
    case nlohmann::ordered_json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(FromJson(item, tag));
      return List(std::move(items), tag);
    }
    case nlohmann::ordered_json::value_t::object: {
      std::vector<std::pair<Value, Value>> entries;
      entries.reserve(json.size());
      for (const auto& item : json.items()) {
        entries.emplace_back(String(item.key(), tag), FromJson(item.value(), tag));
      }
      return Dict(std::move(entries), tag);
    }
    default:
      break;
  }
  v.tag_ = tag;
  return v;
}

int Value::depth() const {
  if (is_sequence()) return static_cast<const ListObject*>(object_.get())->depth;
  return is(Type::kDict) ? static_cast<const DictObject*>(object_.get())->depth : 0;
}

const std::vector<Value>& Value::items() const {
  return static_cast<const ListObject*>(object_.get())->items;
}
const std::vector<std::pair<Value, Value>>& Value::entries() const {
  return static_cast<const DictObject*>(object_.get())->entries;
}
NamespaceObject& Value::name_space() const { return *static_cast<NamespaceObject*>(object_.get()); }
LoopObject& Value::loop() const { return *static_cast<LoopObject*>(object_.get()); }
FunctionObject& Value::function() const { return *static_cast<FunctionObject*>(object_.get()); }

const Value* Value::Find(std::string_view key) const {
  for (const auto& [k, v] : entries()) {
    if (k.is(Type::kString) && k.str() == key) return &v;
  }
  return nullptr;
}

const Value* Value::Find(const Value& key) const {
  for (const auto& [k, v] : entries()) {
    if (Equal(k, key)) return &v;
  }
  return nullptr;
}

bool IsTrue(const Value& v) {
  switch (v.type()) {
    case Type::kUndefined:
    case Type::kNone:
      return false;
    case Type::kBool:
    case Type::kInt:
      return v.integer() != 0;
    case Type::kFloat:
      return v.number() != 0;
    case Type::kString:
      return !v.text().empty();
    case Type::kList:
    case Type::kTuple:
      return !v.items().empty();
    case Type::kDict:
      return !v.entries().empty();
    case Type::kNamespace:
    case Type::kLoop:
    case Type::kFunction:
      return true;
  }
  return false;
}

bool Equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_integer() && b.is_integer()) return a.integer() == b.integer();
    return a.number() == b.number();
  }
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case Type::kUndefined:
    case Type::kNone:
      return true;
    case Type::kString:
      return a.str() == b.str();
    case Type::kList:
    case Type::kTuple: {
      if (a.items().size() != b.items().size()) return false;
      for (size_t i = 0; i < a.items().size(); ++i) {
        if (!Equal(a.items()[i], b.items()[i])) return false;
      }
      return true;
    }
    case Type::kDict: {
      if (a.entries().size() != b.entries().size()) return false;
      for (const auto& [key, value] : a.entries()) {
        const Value* other = b.Find(key);
        if (other == nullptr || !Equal(value, *other)) return false;
      }
      return true;
    }
    case Type::kBool:
    case Type::kInt:
    case Type::kFloat:
    case Type::kNamespace:
    case Type::kLoop:
    case Type::kFunction:
      return a.SameObject(b);
  }
  return false;
}

std::string_view TypeName(const Value& v) {
  switch (v.type()) {
    case Type::kUndefined:
      return "Undefined";
    case Type::kNone:
      return "NoneType";
    case Type::kBool:
      return "bool";
    case Type::kInt:
      return "int";
    case Type::kFloat:
      return "float";
    case Type::kString:
      return "str";
    case Type::kList:
      return "list";
    case Type::kTuple:
      return "tuple";
    case Type::kDict:
      return "dict";
    case Type::kNamespace:
      return "Namespace";
    case Type::kLoop:
      return "LoopContext";
    case Type::kFunction:
      return "function";
  }
  return "object";
}

std::string FloatRepr(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d > 0 ? "inf" : "-inf";
  char buffer[64];
  // Python writes the shortest digits that read back, with an exponent outside 1e-4 … 1e16.
  const double magnitude = std::fabs(d);
  const bool scientific = magnitude != 0 && (magnitude < 1e-4 || magnitude >= 1e16);
  const auto result =
      std::to_chars(buffer, buffer + sizeof(buffer), d,
                    scientific ? std::chars_format::scientific : std::chars_format::fixed);
  std::string text(buffer, result.ptr);
  if (!scientific && text.find('.') == std::string::npos) text += ".0";
  return text;
}

void AppendRepr(const Value& v, TaggedText* out) {
  if (out->size() > kMaxTextBytes) return;
  const Tag tag = v.tag();
  switch (v.type()) {
    case Type::kUndefined:
      out->Append("Undefined", tag);
      return;
    case Type::kNone:
      out->Append("None", tag);
      return;
    case Type::kBool:
      out->Append(v.integer() != 0 ? "True" : "False", tag);
      return;
    case Type::kInt:
      out->Append(std::to_string(v.integer()), tag);
      return;
    case Type::kFloat:
      out->Append(FloatRepr(v.number()), tag);
      return;
    case Type::kString:
      AppendStringRepr(v.text(), out);
      return;
    case Type::kList:
    case Type::kTuple: {
      const bool tuple = v.is(Type::kTuple);
      out->Append(tuple ? "(" : "[", tag);
      for (size_t i = 0; i < v.items().size(); ++i) {
        if (i > 0) out->Append(", ", tag);
        AppendRepr(v.items()[i], out);
      }
      if (tuple && v.items().size() == 1) out->Append(",", tag);
      out->Append(tuple ? ")" : "]", tag);
      return;
    }
    case Type::kDict: {
      out->Append("{", tag);
      bool first = true;
      for (const auto& [key, value] : v.entries()) {
        if (!first) out->Append(", ", tag);
        first = false;
        AppendRepr(key, out);
        out->Append(": ", tag);
        AppendRepr(value, out);
      }
      out->Append("}", tag);
      return;
    }
    case Type::kNamespace:
      // The fields are omitted, because a namespace may refer to itself.
      out->Append("<Namespace>", tag);
      return;
    case Type::kLoop: {
      const LoopObject& loop = v.loop();
      out->Append("<LoopContext " + std::to_string(loop.index + 1) + "/" +
                      std::to_string(loop.items.size()) + ">",
                  tag);
      return;
    }
    case Type::kFunction:
      out->Append("<function " + v.function().name + ">", tag);
      return;
  }
}

void AppendStr(const Value& v, TaggedText* out) {
  if (v.is(Type::kString)) {
    out->Append(v.text());
  } else if (!v.is(Type::kUndefined)) {
    AppendRepr(v, out);
  }
}

TaggedText ToText(const Value& v) {
  if (v.is(Type::kString)) return v.text();
  TaggedText out;
  AppendStr(v, &out);
  return out;
}

}  // namespace trainerd::engine::jinja
