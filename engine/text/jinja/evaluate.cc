// SPDX-License-Identifier: Apache-2.0
// The part of Interpreter (interpreter.h) that evaluates expressions.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/text/jinja/interpreter.h"

namespace trainerd::engine::jinja {
namespace {

using Kind = Expression::Kind;

absl::string_view View(std::string_view s) { return absl::string_view(s.data(), s.size()); }

// Python's message for a failed lookup.
Value NoAttribute(const Value& base, std::string_view name) {
  return Value::Undefined(
      absl::StrCat("'", View(TypeName(base)), " object' has no attribute '", View(name), "'"));
}

bool LoopAttribute(const Value& base, std::string_view name, Value* out) {
  const LoopObject& loop = base.loop();
  const auto count = static_cast<int64_t>(loop.items.size());
  const auto index = static_cast<int64_t>(loop.index);
  if (name == "index")
    *out = Value::Int(index + 1);
  else if (name == "index0")
    *out = Value::Int(index);
  else if (name == "revindex")
    *out = Value::Int(count - index);
  else if (name == "revindex0")
    *out = Value::Int(count - index - 1);
  else if (name == "first")
    *out = Value::Bool(index == 0);
  else if (name == "last")
    *out = Value::Bool(index + 1 == count);
  else if (name == "length")
    *out = Value::Int(count);
  else if (name == "depth")
    *out = Value::Int(loop.depth + 1);
  else if (name == "depth0")
    *out = Value::Int(loop.depth);
  else if (name == "previtem")
    *out = index > 0 ? loop.items[loop.index - 1] : Value::Undefined("there is no previous item");
  else if (name == "nextitem")
    *out =
        index + 1 < count ? loop.items[loop.index + 1] : Value::Undefined("there is no next item");
  else
    return false;
  return true;
}

}  // namespace

bool Interpreter::Evaluate(const Expression& e, Value* out) {
  const Level level(this);
  if (!Step(e.position)) return false;
  switch (e.kind) {
    case Kind::kConstant:
      *out = e.value;
      return true;
    case Kind::kName:
      return EvaluateName(e, out);
    case Kind::kList:
    case Kind::kTuple: {
      std::vector<Value> items;
      if (!EvaluateMany(e.operands, &items)) return false;
      *out = e.kind == Kind::kList ? Value::List(std::move(items)) : Value::Tuple(std::move(items));
      return true;
    }
    case Kind::kDict:
      return EvaluateDict(e, out);
    case Kind::kAttribute: {
      Value base;
      if (!Evaluate(*e.base, &base)) return false;
      position_ = e.position;
      return GetAttribute(base, e.text, out);
    }
    case Kind::kItem:
      return EvaluateItem(e, out);
    case Kind::kSlice:
      return EvaluateSlice(e, out);
    case Kind::kCall:
      return EvaluateCall(e, out);
    case Kind::kFilter:
      return EvaluateFilter(e, nullptr, out);
    case Kind::kTest:
      return EvaluateTest(e, out);
    case Kind::kNegate:
    case Kind::kPlus:
      return EvaluateNegate(e, out);
    case Kind::kBinary: {
      Value left, right;
      if (!Evaluate(*e.base, &left) || !Evaluate(*e.operands[0], &right)) return false;
      position_ = e.position;
      return ApplyBinary(*this, e.op, left, right, out);
    }
    case Kind::kConcat:
      return EvaluateConcat(e, out);
    case Kind::kNot:
    case Kind::kAnd:
    case Kind::kOr:
    case Kind::kConditional:
      return EvaluateLogic(e, out);
    case Kind::kCompare:
      return EvaluateCompare(e, out);
  }
  return false;
}

bool Interpreter::EvaluateLogic(const Expression& e, Value* out) {
  Value base;
  if (!Evaluate(*e.base, &base)) return false;
  const bool is_true = IsTrue(base);
  if (e.kind == Kind::kNot) {
    *out = Value::Bool(!is_true);
    return true;
  }
  if (e.kind == Kind::kConditional) {
    if (is_true) return Evaluate(*e.operands[0], out);
    if (e.operands[1] != nullptr) return Evaluate(*e.operands[1], out);
    *out = Value::Undefined(
        "the inline if-expression evaluated to false and no else section was defined");
    return true;
  }
  if (is_true == (e.kind == Kind::kAnd)) return Evaluate(*e.operands[0], out);
  *out = std::move(base);
  return true;
}

bool Interpreter::EvaluateName(const Expression& e, Value* out) {
  if (const Value* found = Find(e.symbol)) {
    *out = *found;
  } else {
    *out = Value::Undefined(
        absl::StrCat("'", template_.symbols[static_cast<size_t>(e.symbol)], "' is undefined"));
  }
  return true;
}

bool Interpreter::EvaluateMany(const std::vector<ExpressionPtr>& operands,
                               std::vector<Value>* out) {
  out->resize(operands.size());
  for (size_t i = 0; i < operands.size(); ++i) {
    if (!Evaluate(*operands[i], &(*out)[i])) return false;
  }
  return true;
}

bool Interpreter::EvaluateDict(const Expression& e, Value* out) {
  std::vector<Value> values;
  if (!EvaluateMany(e.operands, &values)) return false;
  std::vector<std::pair<Value, Value>> entries;
  for (size_t i = 0; i < values.size(); i += 2) {
    const auto same = std::find_if(entries.begin(), entries.end(), [&](const auto& entry) {
      return Equal(entry.first, values[i]);
    });
    if (same != entries.end()) {
      same->second = std::move(values[i + 1]);
    } else {
      entries.emplace_back(std::move(values[i]), std::move(values[i + 1]));
    }
  }
  *out = Value::Dict(std::move(entries));
  return true;
}

bool Interpreter::EvaluateItem(const Expression& e, Value* out) {
  Value base, key;
  if (!Evaluate(*e.base, &base) || !Evaluate(*e.operands[0], &key)) return false;
  position_ = e.position;
  return GetItem(base, key, out);
}

bool Interpreter::EvaluateSlice(const Expression& e, Value* out) {
  Value base, bounds[3];
  if (!Evaluate(*e.base, &base)) return false;
  for (size_t i = 0; i < 3; ++i) {
    if (e.operands[i] != nullptr && !Evaluate(*e.operands[i], &bounds[i])) return false;
  }
  position_ = e.position;
  return SliceValue(*this, base, bounds[0], bounds[1], bounds[2], out);
}

bool Interpreter::EvaluateArguments(const Expression& e, Arguments* out) {
  if (!EvaluateMany(e.operands, &out->positional)) return false;
  for (const auto& [name, expression] : e.named) {
    Value value;
    if (!Evaluate(*expression, &value)) return false;
    out->named.emplace_back(name, std::move(value));
  }
  return true;
}

bool Interpreter::EvaluateCall(const Expression& e, Value* out) {
  Arguments arguments;
  // A method call needs no value for the method itself.
  if (e.base->kind == Kind::kAttribute) {
    Value self;
    if (!Evaluate(*e.base->base, &self)) return false;
    if (HasMethod(self, e.base->text)) {
      if (!EvaluateArguments(e, &arguments)) return false;
      position_ = e.position;
      return CallMethod(*this, self, e.base->text, arguments, out);
    }
    Value function;
    position_ = e.base->position;
    if (!GetAttribute(self, e.base->text, &function) || !EvaluateArguments(e, &arguments)) {
      return false;
    }
    position_ = e.position;
    return Call(function, arguments, out);
  }
  Value function;
  if (!Evaluate(*e.base, &function) || !EvaluateArguments(e, &arguments)) return false;
  position_ = e.position;
  return Call(function, arguments, out);
}

bool Interpreter::EvaluateFilter(const Expression& e, const Value* base, Value* out) {
  Value self;
  if (e.base != nullptr) {
    // The innermost filter of a block's chain gets the block's text.
    const bool ok = base != nullptr && e.base->kind == Kind::kFilter
                        ? EvaluateFilter(*e.base, base, &self)
                        : Evaluate(*e.base, &self);
    if (!ok) return false;
  } else if (base != nullptr) {
    self = *base;
  }
  Arguments arguments;
  if (!EvaluateArguments(e, &arguments)) return false;
  position_ = e.position;
  return ApplyFilter(e.text, self, arguments, out);
}

bool Interpreter::EvaluateTest(const Expression& e, Value* out) {
  Value self;
  Arguments arguments;
  if (!Evaluate(*e.base, &self) || !EvaluateArguments(e, &arguments)) return false;
  position_ = e.position;
  bool result = false;
  if (!ApplyTest(e.text, self, arguments, &result)) return false;
  *out = Value::Bool(result);
  return true;
}

bool Interpreter::EvaluateCompare(const Expression& e, Value* out) {
  Value left;
  if (!Evaluate(*e.base, &left)) return false;
  for (size_t i = 0; i < e.operands.size(); ++i) {
    Value right;
    bool result = false;
    if (!Evaluate(*e.operands[i], &right)) return false;
    position_ = e.position;
    if (!Compare(*this, e.comparisons[i], left, right, &result)) return false;
    if (!result) {
      *out = Value::Bool(false);
      return true;
    }
    left = std::move(right);
  }
  *out = Value::Bool(true);
  return true;
}

bool Interpreter::EvaluateConcat(const Expression& e, Value* out) {
  TaggedText text;
  for (const ExpressionPtr& operand : e.operands) {
    Value value;
    if (!Evaluate(*operand, &value)) return false;
    AppendStr(value, &text);
    if (!CheckTextSize(text.size())) return false;
  }
  *out = Value::String(std::move(text));
  return true;
}

bool Interpreter::EvaluateNegate(const Expression& e, Value* out) {
  Value value;
  if (!Evaluate(*e.base, &value)) return false;
  position_ = e.position;
  if (value.is(Type::kUndefined)) return Fail(value.str());
  if (!value.is_number()) {
    return Fail(absl::StrCat("bad operand type for unary operator: '", View(TypeName(value)), "'"));
  }
  const bool negate = e.kind == Kind::kNegate;
  if (value.is(Type::kFloat)) {
    *out = Value::Float(negate ? -value.number() : value.number());
  } else {
    if (negate && value.integer() == INT64_MIN) return Fail("integer overflow");
    *out = Value::Int(negate ? -value.integer() : value.integer());
  }
  return true;
}

bool Interpreter::GetAttribute(const Value& base, std::string_view name, Value* out) {
  if (base.is(Type::kUndefined)) return Fail(base.str());
  if (HasMethod(base, name)) {
    auto method = std::make_shared<FunctionObject>();
    method->kind = FunctionObject::Kind::kMethod;
    method->name = std::string(name);
    method->self = base;
    *out = Value::Function(std::move(method));
    return true;
  }
  if (base.is(Type::kDict)) {
    if (const Value* found = base.Find(name)) {
      *out = *found;
      return true;
    }
  } else if (base.is(Type::kNamespace)) {
    for (const auto& [field, value] : base.name_space().fields) {
      if (field == name) {
        *out = value;
        return true;
      }
    }
  } else if (base.is(Type::kLoop)) {
    if (LoopAttribute(base, name, out)) return true;
  }
  *out = NoAttribute(base, name);
  return true;
}

bool Interpreter::GetItem(const Value& base, const Value& key, Value* out) {
  if (base.is(Type::kUndefined)) return Fail(base.str());
  if (base.is(Type::kDict)) {
    if (const Value* found = base.Find(key)) {
      *out = *found;
      return true;
    }
  } else if ((base.is_sequence() || base.is(Type::kString)) && key.is_integer()) {
    if (base.is(Type::kString)) {
      if (CharacterAt(base.text(), key.integer(), out)) return true;
    } else {
      const auto size = static_cast<int64_t>(base.items().size());
      const int64_t index = key.integer() < 0 ? key.integer() + size : key.integer();
      if (index >= 0 && index < size) {
        *out = base.items()[static_cast<size_t>(index)];
        return true;
      }
    }
  }
  if (key.is(Type::kString)) return GetAttribute(base, key.str(), out);
  TaggedText printed;
  AppendRepr(key, &printed);
  *out = base.is_sequence() || base.is(Type::kString)
             ? Value::Undefined(
                   absl::StrCat(View(TypeName(base)), " object has no element ", printed.text()))
             : Value::Undefined(absl::StrCat("'", View(TypeName(base)),
                                             " object' has no attribute ", printed.text()));
  return true;
}

bool Interpreter::Iterate(const Value& v, std::vector<Value>* items) {
  switch (v.type()) {
    case Type::kUndefined:
      return true;
    case Type::kList:
    case Type::kTuple:
      *items = v.items();
      return true;
    case Type::kDict:
      items->reserve(v.entries().size());
      for (const auto& entry : v.entries()) items->push_back(entry.first);
      return true;
    case Type::kString: {
      const std::string& s = v.str();
      for (size_t begin = 0; begin < s.size();) {
        size_t end = begin + 1;
        while (end < s.size() && (s[end] & 0xC0) == 0x80) ++end;
        items->push_back(Value::String(v.text().Slice(begin, end)));
        begin = end;
      }
      steps_ += static_cast<int64_t>(items->size());
      return true;
    }
    default:
      return Fail(absl::StrCat("'", View(TypeName(v)), "' object is not iterable"));
  }
}

}  // namespace trainerd::engine::jinja
