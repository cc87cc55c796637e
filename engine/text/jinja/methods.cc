// SPDX-License-Identifier: Apache-2.0
// The methods of Python's str, dict and list that a template may call in Jinja's immutable sandbox
// (interpreter.h). Calling a method that would change its object is an error.
#include "engine/text/jinja/methods.h"

#include <algorithm>

#include "engine/text/jinja/printf.h"

namespace trainerd::engine::jinja {
namespace {

bool DictItems(Interpreter&, const Value& self, const Bound&, Value* out) {
  std::vector<Value> items;
  for (const auto& [key, value] : self.entries()) items.push_back(Value::Tuple({key, value}));
  *out = Value::List(std::move(items), self.tag());
  return true;
}
bool DictKeys(Interpreter&, const Value& self, const Bound&, Value* out) {
  std::vector<Value> items;
  for (const auto& entry : self.entries()) items.push_back(entry.first);
  *out = Value::List(std::move(items), self.tag());
  return true;
}
bool DictValues(Interpreter&, const Value& self, const Bound&, Value* out) {
  std::vector<Value> items;
  for (const auto& entry : self.entries()) items.push_back(entry.second);
  *out = Value::List(std::move(items), self.tag());
  return true;
}
bool DictGet(Interpreter&, const Value& self, const Bound& a, Value* out) {
  const Value* found = self.Find(*a[0]);
  *out = found != nullptr ? *found : (a[1] != nullptr ? *a[1] : Value());
  return true;
}
bool Copy(Interpreter&, const Value& self, const Bound&, Value* out) {
  *out = self;
  return true;
}
bool Immutable(Interpreter& in, const Value&, const Bound&, Value*) {
  return in.Fail("values are immutable; a template cannot call a method that changes one");
}

constexpr MethodEntry kDictMethods[] = {
    {"items", DictItems, ""},         {"keys", DictKeys, ""},     {"values", DictValues, ""},
    {"get", DictGet, "!key,default"}, {"copy", Copy, ""},         {"pop", Immutable, "a,b"},
    {"popitem", Immutable, ""},       {"update", Immutable, "a"}, {"clear", Immutable, ""},
    {"setdefault", Immutable, "a,b"},
};

bool ListIndex(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  for (size_t i = 0; i < self.items().size(); ++i) {
    if (!Equal(self.items()[i], *a[0])) continue;
    *out = Value::Int(static_cast<int64_t>(i));
    return true;
  }
  return in.Fail("value is not in list");
}
bool ListCount(Interpreter&, const Value& self, const Bound& a, Value* out) {
  *out = Value::Int(std::count_if(self.items().begin(), self.items().end(),
                                  [&](const Value& v) { return Equal(v, *a[0]); }));
  return true;
}

constexpr MethodEntry kListMethods[] = {
    {"index", ListIndex, "!value"},
    {"count", ListCount, "!value"},
    {"copy", Copy, ""},
    {"append", Immutable, "a"},
    {"extend", Immutable, "a"},
    {"insert", Immutable, "a,b"},
    {"pop", Immutable, "a"},
    {"remove", Immutable, "a"},
    {"reverse", Immutable, ""},
    {"sort", Immutable, "key,reverse"},
    {"clear", Immutable, ""},
};
constexpr MethodEntry kTupleMethods[] = {{"index", ListIndex, "!value"},
                                         {"count", ListCount, "!value"}};

bool LoopCycle(Interpreter& in, const Value& self, const Arguments& arguments, Value* out) {
  if (arguments.positional.empty()) return in.Fail("no items for cycling given");
  *out = arguments.positional[self.loop().index % arguments.positional.size()];
  return true;
}
bool LoopChanged(const Value& self, const Arguments& arguments, Value* out) {
  LoopObject& loop = self.loop();
  const bool same =
      loop.has_changed && Equal(Value::List(loop.last_changed), Value::List(arguments.positional));
  loop.last_changed = arguments.positional;
  loop.has_changed = true;
  *out = Value::Bool(!same);
  return true;
}

const MethodEntry* FindMethod(const Value& self, std::string_view name) {
  const auto find = [&](const auto& table) -> const MethodEntry* {
    for (const MethodEntry& known : table) {
      if (known.name == name) return &known;
    }
    return nullptr;
  };
  switch (self.type()) {
    case Type::kString:
      return find(StringMethods());
    case Type::kDict:
      return find(kDictMethods);
    case Type::kList:
      return find(kListMethods);
    case Type::kTuple:
      return find(kTupleMethods);
    default:
      return nullptr;
  }
}

}  // namespace

bool HasMethod(const Value& self, std::string_view name) {
  if (self.is(Type::kLoop)) return name == "cycle" || name == "changed";
  return FindMethod(self, name) != nullptr;
}

bool CallMethod(Interpreter& in, const Value& self, std::string_view name,
                const Arguments& arguments, Value* out) {
  if (self.is(Type::kLoop)) {
    return name == "cycle" ? LoopCycle(in, self, arguments, out)
                           : LoopChanged(self, arguments, out);
  }
  const MethodEntry* known = FindMethod(self, name);
  if (known->method == nullptr) return FormatBraces(in, self.text(), arguments, out);
  Bound bound;
  return bound.Bind(in, name, known->parameters, arguments) && known->method(in, self, bound, out);
}

}  // namespace trainerd::engine::jinja
