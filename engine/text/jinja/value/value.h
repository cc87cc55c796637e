// SPDX-License-Identifier: Apache-2.0
// Values of the template language: the Python values that a chat template can use, with Python's
// rules for truth, equality, order and printing. Values are cheap to copy. Their contents are
// shared and immutable, except for namespaces and loops.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/text/jinja/value/tagged_text.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine::jinja {

enum class Type : uint8_t {
  // A name that nothing defines; the object holds the reason as text.
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kNamespace,
  kLoop,
  kFunction,
};

class Value;
struct ListObject;
struct DictObject;
struct NamespaceObject;
struct LoopObject;
struct FunctionObject;

class Value {
 public:
  Value() = default;  // None
  static Value Undefined(std::string why);
  static Value Bool(bool b);
  static Value Int(int64_t i);
  static Value Float(double d);
  static Value String(TaggedText text);
  static Value String(std::string text, Tag tag = {}) {
    return String(TaggedText(std::move(text), tag));
  }
  static Value List(std::vector<Value> items, Tag tag = {});
  static Value Tuple(std::vector<Value> items);
  static Value Dict(std::vector<std::pair<Value, Value>> entries, Tag tag = {});
  static Value Namespace(std::shared_ptr<NamespaceObject> object);
  static Value Loop(std::shared_ptr<LoopObject> object);
  static Value Function(std::shared_ptr<FunctionObject> object);
  // Every part gets `tag`.
  static Value FromJson(const nlohmann::ordered_json& json, Tag tag);

  Type type() const { return type_; }
  bool is(Type type) const { return type_ == type; }
  bool is_number() const { return type_ == Type::kInt || type_ == Type::kFloat || is_bool(); }
  bool is_bool() const { return type_ == Type::kBool; }
  bool is_integer() const { return type_ == Type::kInt || is_bool(); }
  bool is_sequence() const { return type_ == Type::kList || type_ == Type::kTuple; }

  int64_t integer() const { return int_; }  // kInt, kBool
  double number() const { return type_ == Type::kFloat ? float_ : static_cast<double>(int_); }
  const TaggedText& text() const { return *static_cast<const TaggedText*>(object_.get()); }
  const std::string& str() const { return text().text(); }      // kString, kUndefined
  const std::vector<Value>& items() const;                      // kList, kTuple
  const std::vector<std::pair<Value, Value>>& entries() const;  // kDict
  NamespaceObject& name_space() const;
  LoopObject& loop() const;
  FunctionObject& function() const;

  // The message to which a value other than a string belongs.
  const Tag& tag() const { return tag_; }
  bool SameObject(const Value& other) const {
    return type_ == other.type_ && object_ == other.object_ && int_ == other.int_;
  }

  // Levels of lists, tuples and dicts; 0 for other values. It bounds each recursion over a value.
  int depth() const;

  // The value of `key` in a dict; null if there is none.
  const Value* Find(std::string_view key) const;
  const Value* Find(const Value& key) const;

 private:
  Type type_ = Type::kNone;
  Tag tag_;
  union {
    int64_t int_ = 0;
    double float_;
  };
  std::shared_ptr<void> object_;
};

struct ListObject {
  std::vector<Value> items;
  int depth;  // levels of lists and dicts, 1 = no nesting
};
struct DictObject {
  std::vector<std::pair<Value, Value>> entries;
  int depth;
};
struct NamespaceObject {
  std::vector<std::pair<std::string, Value>> fields;
};

struct Statement;

// The variable `loop` of a for statement.
struct LoopObject {
  std::vector<Value> items;
  size_t index = 0;
  int depth = 0;
  const Statement* statement = nullptr;
  std::vector<Value> last_changed;  // arguments of the last loop.changed(…)
  bool has_changed = false;
};

// A function that a template can call.
struct FunctionObject {
  enum class Kind { kBuiltin, kMethod, kMacro, kCaller };
  Kind kind = Kind::kBuiltin;
  std::string name;                      // of a builtin or method
  Value self;                            // of a method
  const Statement* statement = nullptr;  // of a macro or call block
  // The variables that are visible in the body of a macro or call block (interpreter.cc).
  size_t outer_begin = 0, outer_end = 0, top_end = 0;
};

// Limit on each text that a template creates.
constexpr size_t kMaxTextBytes = size_t{64} << 20;
// Limit on the nesting of a value.
constexpr int kMaxValueDepth = 200;

bool IsTrue(const Value& v);
bool Equal(const Value& a, const Value& b);
// Python's name of the type ("str", "dict" …), for messages.
std::string_view TypeName(const Value& v);

// Appends str(v). Parts without a tag get the tag of the value around them.
void AppendStr(const Value& v, TaggedText* out);
// Appends repr(v). Stops at kMaxTextBytes.
void AppendRepr(const Value& v, TaggedText* out);
TaggedText ToText(const Value& v);
// repr(d) of a Python float.
std::string FloatRepr(double d);

}  // namespace trainerd::engine::jinja
