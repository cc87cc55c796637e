// SPDX-License-Identifier: Apache-2.0
// Python's operators on template values (interpreter.h).
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/text/jinja/interpreter.h"
#include "engine/text/jinja/printf.h"

namespace trainerd::engine::jinja {
namespace {

// Limit on the elements of a list that an operator creates.
constexpr size_t kMaxListItems = 1'000'000;

absl::string_view View(std::string_view s) { return absl::string_view(s.data(), s.size()); }

std::string_view OperatorText(Operator op) {
  switch (op) {
    case Operator::kAdd:
      return "+";
    case Operator::kSubtract:
      return "-";
    case Operator::kMultiply:
      return "*";
    case Operator::kDivide:
      return "/";
    case Operator::kFloorDivide:
      return "//";
    case Operator::kModulo:
      return "%";
    case Operator::kPower:
      return "**";
    case Operator::kEqual:
      return "==";
    case Operator::kNotEqual:
      return "!=";
    case Operator::kLess:
      return "<";
    case Operator::kLessEqual:
      return "<=";
    case Operator::kGreater:
      return ">";
    case Operator::kGreaterEqual:
      return ">=";
    case Operator::kIn:
      return "in";
    case Operator::kNotIn:
      return "not in";
  }
  return "";
}

bool Unsupported(Interpreter& in, Operator op, const Value& left, const Value& right) {
  if (left.is(Type::kUndefined)) return in.Fail(left.str());
  if (right.is(Type::kUndefined)) return in.Fail(right.str());
  return in.Fail(absl::StrCat("unsupported operand type(s) for ", View(OperatorText(op)), ": '",
                              View(TypeName(left)), "' and '", View(TypeName(right)), "'"));
}

bool IntegerArithmetic(Interpreter& in, Operator op, int64_t a, int64_t b, Value* out) {
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case Operator::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case Operator::kSubtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case Operator::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case Operator::kFloorDivide:
    case Operator::kModulo: {
      if (b == 0) return in.Fail("integer division or modulo by zero");
      if (b == -1) {  // INT64_MIN / -1 overflows
        overflow = op == Operator::kFloorDivide && __builtin_sub_overflow(int64_t{0}, a, &result);
        break;
      }
      // Python rounds down, and the remainder has the divisor's sign.
      int64_t quotient = a / b;
      int64_t remainder = a % b;
      if (remainder != 0 && (remainder < 0) != (b < 0)) {
        --quotient;
        remainder += b;
      }
      result = op == Operator::kFloorDivide ? quotient : remainder;
      break;
    }
    case Operator::kPower: {
      if (b < 0) {
        *out = Value::Float(std::pow(static_cast<double>(a), static_cast<double>(b)));
        return true;
      }
      result = 1;
      // |a| >= 2 overflows within 63 steps.
      const int64_t repeats = a == 0 || a == 1 || a == -1 ? std::min<int64_t>(b, 2 - (b & 1)) : b;
      for (int64_t i = 0; i < repeats && !overflow; ++i) {
        overflow = __builtin_mul_overflow(result, a, &result);
      }
      break;
    }
    default:
      break;
  }
  if (overflow) return in.Fail("integer overflow");
  *out = Value::Int(result);
  return true;
}

bool FloatArithmetic(Interpreter& in, Operator op, double a, double b, Value* out) {
  switch (op) {
    case Operator::kAdd:
      *out = Value::Float(a + b);
      return true;
    case Operator::kSubtract:
      *out = Value::Float(a - b);
      return true;
    case Operator::kMultiply:
      *out = Value::Float(a * b);
      return true;
    case Operator::kDivide:
      if (b == 0) return in.Fail("division by zero");
      *out = Value::Float(a / b);
      return true;
    case Operator::kFloorDivide:
      if (b == 0) return in.Fail("float floor division by zero");
      *out = Value::Float(std::floor(a / b));
      return true;
    case Operator::kModulo: {
      if (b == 0) return in.Fail("float modulo");
      double remainder = std::fmod(a, b);
      if (remainder != 0 && (remainder < 0) != (b < 0)) remainder += b;
      *out = Value::Float(remainder);
      return true;
    }
    case Operator::kPower:
      *out = Value::Float(std::pow(a, b));
      return true;
    default:
      return false;
  }
}

bool Repeat(Interpreter& in, const Value& v, int64_t times, Value* out) {
  const auto n = static_cast<size_t>(std::max<int64_t>(times, 0));
  if (v.is(Type::kString)) {
    const size_t size = v.text().size();
    if (n != 0 && size > kMaxTextBytes / n) return in.CheckTextSize(SIZE_MAX);
    TaggedText text;
    for (size_t i = 0; i < n && size != 0; ++i) text.Append(v.text());
    *out = Value::String(std::move(text));
    return true;
  }
  const size_t size = v.items().size();
  if (n != 0 && size > kMaxListItems / n) return in.Fail("list of more than 1000000 items");
  std::vector<Value> items;
  items.reserve(size * n);
  for (size_t i = 0; i < n && size != 0; ++i) {
    items.insert(items.end(), v.items().begin(), v.items().end());
  }
  *out = v.is(Type::kTuple) ? Value::Tuple(std::move(items)) : Value::List(std::move(items));
  return true;
}

bool Contains(Interpreter& in, const Value& container, const Value& item, bool* out) {
  switch (container.type()) {
    case Type::kString:
      if (!item.is(Type::kString)) {
        return in.ExpectString(item, "the left side of 'in <string>'");
      }
      *out = container.str().find(item.str()) != std::string::npos;
      return true;
    case Type::kDict:
      *out = container.Find(item) != nullptr;
      return true;
    case Type::kList:
    case Type::kTuple:
      *out = std::any_of(container.items().begin(), container.items().end(),
                         [&](const Value& v) { return Equal(v, item); });
      return true;
    case Type::kUndefined:
      *out = false;
      return true;
    default:
      return in.Fail(
          absl::StrCat("argument of type '", View(TypeName(container)), "' is not iterable"));
  }
}

// Byte offset of code point `index` of `text`.
size_t ByteOffset(std::string_view text, int64_t index) {
  size_t at = 0;
  for (; index > 0 && at < text.size(); --index) {
    ++at;
    while (at < text.size() && (text[at] & 0xC0) == 0x80) ++at;
  }
  return at;
}

struct Bounds {
  int64_t start, stop, step;
};

// Python's slice.indices(size).
bool SliceBounds(Interpreter& in, const Value& start, const Value& stop, const Value& step,
                 int64_t size, Bounds* out) {
  for (const Value* v : {&start, &stop, &step}) {
    if (!v->is(Type::kNone) && !v->is_integer()) {
      if (v->is(Type::kUndefined)) return in.Fail(v->str());
      return in.Fail("slice indices must be integers or none");
    }
  }
  out->step = step.is(Type::kNone) ? 1 : step.integer();
  if (out->step == 0) return in.Fail("slice step cannot be zero");
  out->step = std::clamp(out->step, -size - 1, size + 1);  // adding it cannot overflow
  const bool back = out->step < 0;
  const int64_t low = back ? -1 : 0;
  const int64_t high = back ? size - 1 : size;
  const auto clamp = [&](const Value& v, int64_t otherwise) {
    if (v.is(Type::kNone)) return otherwise;
    const int64_t i = v.integer() < 0 ? v.integer() + size : v.integer();
    return std::clamp(i, low, std::max(low, high));
  };
  out->start = clamp(start, back ? high : low);
  out->stop = clamp(stop, back ? low : high);
  return true;
}

}  // namespace

int64_t CountCodePoints(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

bool CharacterAt(const TaggedText& text, int64_t at, Value* out) {
  const std::string& s = text.text();
  if (at < 0) at += CountCodePoints(s);
  if (at < 0) return false;
  const size_t begin = ByteOffset(s, at);
  if (begin >= s.size()) return false;
  const size_t end = begin + ByteOffset(std::string_view(s).substr(begin), 1);
  *out = Value::String(text.Slice(begin, end));
  return true;
}

bool ApplyBinary(Interpreter& in, Operator op, const Value& left, const Value& right, Value* out) {
  if (left.is_number() && right.is_number()) {
    if (left.is_integer() && right.is_integer() && op != Operator::kDivide) {
      return IntegerArithmetic(in, op, left.integer(), right.integer(), out);
    }
    return FloatArithmetic(in, op, left.number(), right.number(), out);
  }
  if (op == Operator::kAdd && left.is(Type::kString) && right.is(Type::kString)) {
    if (!in.CheckTextSize(left.text().size() + right.text().size())) return false;
    TaggedText text = left.text();
    text.Append(right.text());
    *out = Value::String(std::move(text));
    return true;
  }
  if (op == Operator::kAdd && left.is_sequence() && left.type() == right.type()) {
    std::vector<Value> items = left.items();
    if (items.size() + right.items().size() > kMaxListItems) {
      return in.Fail("list of more than 1000000 items");
    }
    items.insert(items.end(), right.items().begin(), right.items().end());
    *out = left.is(Type::kTuple) ? Value::Tuple(std::move(items)) : Value::List(std::move(items));
    return true;
  }
  if (op == Operator::kMultiply) {
    const bool left_repeats = left.is(Type::kString) || left.is_sequence();
    const bool right_repeats = right.is(Type::kString) || right.is_sequence();
    if (left_repeats && right.is_integer()) return Repeat(in, left, right.integer(), out);
    if (right_repeats && left.is_integer()) return Repeat(in, right, left.integer(), out);
  }
  if (op == Operator::kModulo && left.is(Type::kString)) {
    if (right.is(Type::kUndefined)) return in.Fail(right.str());
    return FormatPercent(in, left.text(),
                         right.is(Type::kTuple) ? right.items() : std::vector<Value>{right}, out);
  }
  return Unsupported(in, op, left, right);
}

bool Less(Interpreter& in, const Value& left, const Value& right, bool* out) {
  if (left.is_number() && right.is_number()) {
    *out = left.is_integer() && right.is_integer() ? left.integer() < right.integer()
                                                   : left.number() < right.number();
    return true;
  }
  if (left.is(Type::kString) && right.is(Type::kString)) {
    *out = left.str() < right.str();  // UTF-8 bytes sort as code points do
    return true;
  }
  if (left.is_sequence() && left.type() == right.type()) {
    const size_t common = std::min(left.items().size(), right.items().size());
    for (size_t i = 0; i < common; ++i) {
      if (Equal(left.items()[i], right.items()[i])) continue;
      return Less(in, left.items()[i], right.items()[i], out);
    }
    *out = left.items().size() < right.items().size();
    return true;
  }
  return Unsupported(in, Operator::kLess, left, right);
}

bool Compare(Interpreter& in, Operator op, const Value& left, const Value& right, bool* out) {
  switch (op) {
    case Operator::kEqual:
      *out = Equal(left, right);
      return true;
    case Operator::kNotEqual:
      *out = !Equal(left, right);
      return true;
    case Operator::kIn:
      return Contains(in, right, left, out);
    case Operator::kNotIn:
      if (!Contains(in, right, left, out)) return false;
      *out = !*out;
      return true;
    case Operator::kLess:
      return Less(in, left, right, out);
    case Operator::kGreater:
      return Less(in, right, left, out);
    case Operator::kLessEqual:
    case Operator::kGreaterEqual: {
      const bool less = op == Operator::kLessEqual;
      if (!Less(in, less ? left : right, less ? right : left, out)) return false;
      *out = *out || Equal(left, right);
      return true;
    }
    default:
      return false;
  }
}

bool SliceValue(Interpreter& in, const Value& base, const Value& start, const Value& stop,
                const Value& step, Value* out) {
  if (base.is(Type::kUndefined)) return in.Fail(base.str());
  Bounds b;
  if (base.is(Type::kString)) {
    const TaggedText& text = base.text();
    const int64_t size = CountCodePoints(text.text());
    if (!SliceBounds(in, start, stop, step, size, &b)) return false;
    if (b.step == 1) {
      const size_t begin = ByteOffset(text.text(), b.start);
      const std::string_view rest = std::string_view(text.text()).substr(begin);
      const size_t count = ByteOffset(rest, std::max<int64_t>(b.stop - b.start, 0));
      *out = Value::String(text.Slice(begin, begin + count));
      return true;
    }
    std::vector<Value> characters;
    if (!in.Iterate(base, &characters)) return false;
    TaggedText picked;
    for (int64_t i = b.start; b.step > 0 ? i < b.stop : i > b.stop; i += b.step) {
      picked.Append(characters[static_cast<size_t>(i)].text());
    }
    *out = Value::String(std::move(picked));
    return true;
  }
  if (!base.is_sequence()) {
    return in.Fail(absl::StrCat("'", View(TypeName(base)), "' object cannot be sliced"));
  }
  const auto& items = base.items();
  if (!SliceBounds(in, start, stop, step, static_cast<int64_t>(items.size()), &b)) return false;
  std::vector<Value> picked;
  for (int64_t i = b.start; b.step > 0 ? i < b.stop : i > b.stop; i += b.step) {
    picked.push_back(items[static_cast<size_t>(i)]);
  }
  *out = base.is(Type::kTuple) ? Value::Tuple(std::move(picked))
                               : Value::List(std::move(picked), base.tag());
  return true;
}

}  // namespace trainerd::engine::jinja
