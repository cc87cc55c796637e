// SPDX-License-Identifier: Apache-2.0
// json.dumps for the tojson filter (interpreter.h).
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "engine/text/jinja/interpreter.h"
#include "proto/base/utf8.h"

namespace trainerd::engine::jinja {
namespace {

absl::string_view View(std::string_view s) { return absl::string_view(s.data(), s.size()); }

class JsonWriter {
 public:
  JsonWriter(Interpreter& in, const JsonStyle& style, TaggedText* out)
      : in_(in), style_(style), out_(out) {}

  bool Write(const Value& v, int level) {
    if (!in_.CheckTextSize(out_->size())) return false;
    switch (v.type()) {
      case Type::kNone:
        out_->Append("null", v.tag());
        return true;
      case Type::kBool:
        out_->Append(v.integer() != 0 ? "true" : "false", v.tag());
        return true;
      case Type::kInt:
      case Type::kFloat:
        out_->Append(Number(v), v.tag());
        return true;
      case Type::kString:
        WriteString(v.text());
        return true;
      case Type::kList:
      case Type::kTuple:
        return WriteList(v, level);
      case Type::kDict:
        return WriteDict(v, level);
      default:
        if (v.is(Type::kUndefined)) return in_.Fail(v.str());
        return in_.Fail(
            absl::StrCat("object of type ", View(TypeName(v)), " is not JSON serializable"));
    }
  }

 private:
  static std::string Number(const Value& v) {
    if (v.is(Type::kInt)) return std::to_string(v.integer());
    const double d = v.number();
    if (std::isnan(d)) return "NaN";
    if (std::isinf(d)) return d > 0 ? "Infinity" : "-Infinity";
    return FloatRepr(d);
  }

  // The escape for a character inside quotes; "" = the character itself.
  std::string Escape(uint32_t c) const {
    char buffer[16];
    switch (c) {
      case '"':
        return "\\\"";
      case '\\':
        return "\\\\";
      case '\n':
        return "\\n";
      case '\r':
        return "\\r";
      case '\t':
        return "\\t";
      case '\b':
        return "\\b";
      case '\f':
        return "\\f";
      default:
        break;
    }
    if (c >= 0x20 && (c < 0x7F || !style_.ensure_ascii)) return "";
    if (c < 0x10000) {
      std::snprintf(buffer, sizeof(buffer), "\\u%04x", c);
    } else {
      std::snprintf(buffer, sizeof(buffer), "\\u%04x\\u%04x", 0xD800 + ((c - 0x10000) >> 10),
                    0xDC00 + ((c - 0x10000) & 0x3FF));
    }
    return buffer;
  }

  void WriteString(const TaggedText& text) {
    const std::string& s = text.text();
    out_->Append("\"", text.TagAt(0));
    text.ForEachRun([&](size_t begin, size_t end, Tag tag) {
      if (tag.json_text) in_.NoteQuotedJson();
      size_t plain = begin;
      for (size_t at = begin; at < end;) {
        int size = 1;
        const uint32_t c = DecodeUtf8(s.data() + at, &size);
        const std::string escaped = Escape(c);
        if (!escaped.empty()) {
          out_->Append(std::string_view(s).substr(plain, at - plain), tag);
          out_->Append(escaped, tag);
          plain = at + static_cast<size_t>(size);
        }
        at += static_cast<size_t>(size);
      }
      out_->Append(std::string_view(s).substr(plain, end - plain), tag);
    });
    out_->Append("\"", text.TagAt(s.size()));
  }

  bool indented() const { return style_.indent >= 0 || !style_.indent_text.empty(); }

  void NewLine(int level, Tag tag) {
    if (!indented()) return;
    std::string line = "\n";
    for (int i = 0; i < level; ++i) {
      line += style_.indent_text.empty() ? std::string(static_cast<size_t>(style_.indent), ' ')
                                         : style_.indent_text;
    }
    out_->Append(line, tag);
  }

  bool WriteList(const Value& v, int level) {
    const Tag tag = v.tag();
    if (v.items().empty()) {
      out_->Append("[]", tag);
      return true;
    }
    out_->Append("[", tag);
    bool first = true;
    for (const Value& item : v.items()) {
      if (!first) out_->Append(style_.item_separator, tag);
      first = false;
      NewLine(level + 1, tag);
      if (!Write(item, level + 1)) return false;
    }
    NewLine(level, tag);
    out_->Append("]", tag);
    return true;
  }

  bool WriteKey(const Value& key) {
    switch (key.type()) {
      case Type::kString:
        WriteString(key.text());
        return true;
      case Type::kNone:
      case Type::kBool:
      case Type::kInt:
      case Type::kFloat:
        out_->Append("\"", key.tag());
        if (!Write(key, 0)) return false;
        out_->Append("\"", key.tag());
        return true;
      default:
        return in_.Fail(
            absl::StrCat("JSON keys must be strings or numbers, not ", View(TypeName(key))));
    }
  }

  bool WriteDict(const Value& v, int level) {
    const Tag tag = v.tag();
    if (v.entries().empty()) {
      out_->Append("{}", tag);
      return true;
    }
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : v.entries()) entries.push_back(&entry);
    if (style_.sort_keys) {
      bool ok = true;
      std::stable_sort(entries.begin(), entries.end(), [&](const auto* a, const auto* b) {
        bool less = false;
        ok = ok && Less(in_, a->first, b->first, &less);
        return less;
      });
      if (!ok) return false;
    }
    out_->Append("{", tag);
    bool first = true;
    for (const auto* entry : entries) {
      if (!first) out_->Append(style_.item_separator, tag);
      first = false;
      NewLine(level + 1, tag);
      if (!WriteKey(entry->first)) return false;
      out_->Append(style_.key_separator, tag);
      if (!Write(entry->second, level + 1)) return false;
    }
    NewLine(level, tag);
    out_->Append("}", tag);
    return true;
  }

  Interpreter& in_;
  const JsonStyle& style_;
  TaggedText* out_;
};

}  // namespace

bool AppendJson(Interpreter& in, const Value& v, const JsonStyle& style, TaggedText* out) {
  return JsonWriter(in, style, out).Write(v, 0);
}

}  // namespace trainerd::engine::jinja
