// SPDX-License-Identifier: Apache-2.0
// The tests that follow `is` (interpreter.h). Source: Jinja 3.1, jinja2/tests.py.
#include <algorithm>

#include "engine/text/jinja/arguments.h"
#include "engine/text/jinja/interpreter.h"
#include "engine/text/jinja/value/text_functions.h"

namespace trainerd::engine::jinja {
namespace {

using Test = bool (*)(Interpreter& in, const Value& self, const Bound& arguments, bool* out);

template <Type type>
bool IsType(Interpreter&, const Value& self, const Bound&, bool* out) {
  *out = self.is(type);
  return true;
}

bool IsDefined(Interpreter&, const Value& self, const Bound&, bool* out) {
  *out = !self.is(Type::kUndefined);
  return true;
}
bool IsNumber(Interpreter&, const Value& self, const Bound&, bool* out) {
  *out = self.is_number();
  return true;
}
template <bool expected>
bool IsConstant(Interpreter&, const Value& self, const Bound&, bool* out) {
  *out = self.is_bool() && (self.integer() != 0) == expected;
  return true;
}
bool IsIterable(Interpreter&, const Value& self, const Bound&, bool* out) {
  *out = self.is(Type::kString) || self.is_sequence() || self.is(Type::kDict) ||
         self.is(Type::kUndefined) || self.is(Type::kLoop);
  return true;
}
bool IsSequence(Interpreter&, const Value& self, const Bound&, bool* out) {
  *out = self.is(Type::kString) || self.is_sequence() || self.is(Type::kDict) ||
         self.is(Type::kUndefined);
  return true;
}
bool IsCallable(Interpreter&, const Value& self, const Bound&, bool* out) {
  *out = self.is(Type::kFunction) || self.is(Type::kLoop);
  return true;
}
bool IsSame(Interpreter&, const Value& self, const Bound& a, bool* out) {
  *out = self.type() == a[0]->type() && self.SameObject(*a[0]);
  return true;
}
template <Operator op>
bool Compares(Interpreter& in, const Value& self, const Bound& a, bool* out) {
  return Compare(in, op, self, *a[0], out);
}

bool Remainder(Interpreter& in, const Value& self, int64_t divisor, int64_t* out) {
  Value result;
  if (!ApplyBinary(in, Operator::kModulo, self, Value::Int(divisor), &result)) return false;
  *out = result.is(Type::kFloat) ? static_cast<int64_t>(result.number() != 0) : result.integer();
  return true;
}
template <int64_t expected>
bool IsParity(Interpreter& in, const Value& self, const Bound&, bool* out) {
  int64_t remainder = 0;
  if (!self.is_number()) return in.Fail("not all arguments converted: expected a number");
  if (!Remainder(in, self, 2, &remainder)) return false;
  *out = remainder == expected;
  return true;
}
bool IsDivisible(Interpreter& in, const Value& self, const Bound& a, bool* out) {
  int64_t divisor = 0, remainder = 0;
  if (!a.IntegerOr(in, 0, 1, &divisor) || !Remainder(in, self, divisor, &remainder)) return false;
  *out = remainder == 0;
  return true;
}

// str.islower() and str.isupper(): at least one letter, and no letter of the other case.
template <Case own, Case other>
bool IsCase(Interpreter&, const Value& self, const Bound&, bool* out) {
  const TaggedText text = ToText(self);
  *out = MapCase(text, own).text() == text.text() && MapCase(text, other).text() != text.text();
  return true;
}

bool IsFilter(Interpreter& in, const Value& self, const Bound&, bool* out);
bool IsTest(Interpreter& in, const Value& self, const Bound&, bool* out);

bool IsEscaped(Interpreter&, const Value&, const Bound&, bool* out) {
  // Values have no markup type.
  *out = false;
  return true;
}

struct Known {
  std::string_view name;
  Test test;
  std::string_view parameters;
};

constexpr Known kTests[] = {
    {"defined", IsDefined, ""},
    {"undefined", IsType<Type::kUndefined>, ""},
    {"none", IsType<Type::kNone>, ""},
    {"string", IsType<Type::kString>, ""},
    {"boolean", IsType<Type::kBool>, ""},
    {"integer", IsType<Type::kInt>, ""},
    {"float", IsType<Type::kFloat>, ""},
    {"number", IsNumber, ""},
    {"true", IsConstant<true>, ""},
    {"false", IsConstant<false>, ""},
    {"mapping", IsType<Type::kDict>, ""},
    {"iterable", IsIterable, ""},
    {"sequence", IsSequence, ""},
    {"callable", IsCallable, ""},
    {"sameas", IsSame, "!other"},
    {"in", Compares<Operator::kIn>, "!seq"},
    {"eq", Compares<Operator::kEqual>, "!b"},
    {"equalto", Compares<Operator::kEqual>, "!b"},
    {"==", Compares<Operator::kEqual>, "!b"},
    {"ne", Compares<Operator::kNotEqual>, "!b"},
    {"!=", Compares<Operator::kNotEqual>, "!b"},
    {"lt", Compares<Operator::kLess>, "!b"},
    {"lessthan", Compares<Operator::kLess>, "!b"},
    {"<", Compares<Operator::kLess>, "!b"},
    {"le", Compares<Operator::kLessEqual>, "!b"},
    {"<=", Compares<Operator::kLessEqual>, "!b"},
    {"gt", Compares<Operator::kGreater>, "!b"},
    {"greaterthan", Compares<Operator::kGreater>, "!b"},
    {">", Compares<Operator::kGreater>, "!b"},
    {"ge", Compares<Operator::kGreaterEqual>, "!b"},
    {">=", Compares<Operator::kGreaterEqual>, "!b"},
    {"odd", IsParity<1>, ""},
    {"even", IsParity<0>, ""},
    {"divisibleby", IsDivisible, "!num"},
    {"lower", IsCase<Case::kLower, Case::kUpper>, ""},
    {"upper", IsCase<Case::kUpper, Case::kLower>, ""},
    {"escaped", IsEscaped, ""},
    {"filter", IsFilter, ""},
    {"test", IsTest, ""},
};

bool IsFilter(Interpreter& in, const Value& self, const Bound&, bool* out) {
  if (!in.ExpectString(self, "the name of a filter")) return false;
  *out = IsKnownFilter(self.str());
  return true;
}
bool IsTest(Interpreter& in, const Value& self, const Bound&, bool* out) {
  if (!in.ExpectString(self, "the name of a test")) return false;
  *out = std::any_of(std::begin(kTests), std::end(kTests),
                     [&](const Known& known) { return known.name == self.str(); });
  return true;
}

}  // namespace

bool CallTest(Interpreter& in, std::string_view name, const Value& self, const Arguments& arguments,
              bool* known, bool* out) {
  for (const Known& entry : kTests) {
    if (entry.name != name) continue;
    *known = true;
    Bound bound;
    return bound.Bind(in, name, entry.parameters, arguments) && entry.test(in, self, bound, out);
  }
  *known = false;
  return false;
}

}  // namespace trainerd::engine::jinja
