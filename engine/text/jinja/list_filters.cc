// SPDX-License-Identifier: Apache-2.0
// Filters over lists. Source: Jinja 3.1, jinja2/filters.py.
#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/text/jinja/filters.h"
#include "engine/text/jinja/value/text_functions.h"

namespace trainerd::engine::jinja {
namespace {

// The attribute "a.b.0" of an item; the item itself when `path` is null.
bool ItemAttribute(Interpreter& in, const Value& item, const Value* path, Value* out) {
  *out = item;
  if (path == nullptr || path->is(Type::kNone)) return true;
  if (path->is_integer()) return in.GetItem(item, *path, out);
  if (!in.ExpectString(*path, "attribute")) return false;
  const std::string_view dot = ".";
  for (const TaggedText& part : Split(path->text(), &dot, -1, false)) {
    int64_t index = 0;
    const Value key =
        absl::SimpleAtoi(part.text(), &index) ? Value::Int(index) : Value::String(part.text());
    const Value base = *out;
    if (!in.GetItem(base, key, out)) return false;
  }
  return true;
}

Value FoldCase(const Value& v, bool case_sensitive) {
  if (case_sensitive || !v.is(Type::kString)) return v;
  return Value::String(MapCase(v.text(), Case::kLower));
}

bool First(Interpreter& in, const Value& self, const Bound&, Value* out) {
  std::vector<Value> items;
  if (!in.Iterate(self, &items)) return false;
  *out = items.empty() ? Value::Undefined("No first item, sequence was empty.") : items.front();
  return true;
}

bool Last(Interpreter& in, const Value& self, const Bound&, Value* out) {
  std::vector<Value> items;
  if (!in.Iterate(self, &items)) return false;
  *out = items.empty() ? Value::Undefined("No last item, sequence was empty.") : items.back();
  return true;
}

bool ToList(Interpreter& in, const Value& self, const Bound&, Value* out) {
  std::vector<Value> items;
  if (!in.Iterate(self, &items)) return false;
  *out = Value::List(std::move(items));
  return true;
}

bool Reverse(Interpreter& in, const Value& self, const Bound&, Value* out) {
  std::vector<Value> items;
  if (!in.Iterate(self, &items)) return false;
  std::reverse(items.begin(), items.end());
  if (!self.is(Type::kString)) {
    *out = Value::List(std::move(items));
    return true;
  }
  TaggedText text;
  for (const Value& item : items) text.Append(item.text());
  *out = Value::String(std::move(text));
  return true;
}

bool Items(Interpreter& in, const Value& self, const Bound&, Value* out) {
  if (self.is(Type::kUndefined)) {
    *out = Value::List({});
    return true;
  }
  if (!self.is(Type::kDict)) return in.Fail("can only get item pairs from a mapping");
  return CallMethod(in, self, "items", {}, out);
}

bool Join(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  std::vector<Value> items;
  if (!in.Iterate(self, &items)) return false;
  const TaggedText separator = a[0] != nullptr ? ToText(*a[0]) : TaggedText();
  TaggedText text;
  for (size_t i = 0; i < items.size(); ++i) {
    Value item;
    if (!ItemAttribute(in, items[i], a[1], &item)) return false;
    if (i > 0) text.Append(separator);
    AppendStr(item, &text);
    if (!in.CheckTextSize(text.size())) return false;
  }
  *out = Value::String(std::move(text));
  return true;
}

// Sorts the indices of `keys`, stably.
bool SortOrder(Interpreter& in, const std::vector<Value>& keys, bool reverse,
               std::vector<size_t>* order) {
  order->resize(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) (*order)[i] = i;
  bool ok = true;
  const auto less = [&](size_t a, size_t b) {
    bool result = false;
    if (ok) ok = Less(in, keys[a], keys[b], &result);
    return result;
  };
  if (reverse) {
    std::stable_sort(order->begin(), order->end(), [&](size_t a, size_t b) { return less(b, a); });
  } else {
    std::stable_sort(order->begin(), order->end(), less);
  }
  return ok;
}

bool Sort(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  std::vector<Value> items, keys;
  if (!in.Iterate(self, &items)) return false;
  const bool case_sensitive = a.IsTrueOr(1, false);
  for (const Value& item : items) {
    Value key;
    if (!ItemAttribute(in, item, a[2], &key)) return false;
    keys.push_back(FoldCase(key, case_sensitive));
  }
  std::vector<size_t> order;
  if (!SortOrder(in, keys, a.IsTrueOr(0, false), &order)) return false;
  std::vector<Value> sorted;
  for (const size_t i : order) sorted.push_back(items[i]);
  *out = Value::List(std::move(sorted));
  return true;
}

bool DictSort(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  if (!self.is(Type::kDict)) return in.Fail("dictsort: expected a mapping");
  std::string_view by;
  if (!a.StringOr(in, 1, "key", &by)) return false;
  if (by != "key" && by != "value") return in.Fail("dictsort: by must be \"key\" or \"value\"");
  std::vector<Value> keys;
  for (const auto& [key, value] : self.entries()) {
    keys.push_back(FoldCase(by == "key" ? key : value, a.IsTrueOr(0, false)));
  }
  std::vector<size_t> order;
  if (!SortOrder(in, keys, a.IsTrueOr(2, false), &order)) return false;
  std::vector<Value> sorted;
  for (const size_t i : order) {
    sorted.push_back(Value::Tuple({self.entries()[i].first, self.entries()[i].second}));
  }
  *out = Value::List(std::move(sorted));
  return true;
}

bool Unique(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  std::vector<Value> items, seen, kept;
  if (!in.Iterate(self, &items)) return false;
  if (items.size() > 10'000) return in.Fail("unique: more than 10000 items");
  for (const Value& item : items) {
    Value key;
    if (!ItemAttribute(in, item, a[1], &key)) return false;
    key = FoldCase(key, a.IsTrueOr(0, false));
    const bool again = std::any_of(seen.begin(), seen.end(),
                                   [&](const Value& other) { return Equal(key, other); });
    if (again) continue;
    seen.push_back(std::move(key));
    kept.push_back(item);
  }
  *out = Value::List(std::move(kept));
  return true;
}

template <bool largest>
bool Extreme(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  std::vector<Value> items;
  if (!in.Iterate(self, &items)) return false;
  if (items.empty()) {
    *out = Value::Undefined("No aggregated item, sequence was empty.");
    return true;
  }
  Value best;
  for (size_t i = 0; i < items.size(); ++i) {
    Value key;
    if (!ItemAttribute(in, items[i], a[1], &key)) return false;
    key = FoldCase(key, a.IsTrueOr(0, false));
    bool better = i == 0;
    if (!better && !Less(in, largest ? best : key, largest ? key : best, &better)) return false;
    if (!better) continue;
    best = std::move(key);
    *out = items[i];
  }
  return true;
}

bool Sum(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  std::vector<Value> items;
  if (!in.Iterate(self, &items)) return false;
  Value total = a[1] != nullptr ? *a[1] : Value::Int(0);
  for (const Value& item : items) {
    Value term, next;
    if (!ItemAttribute(in, item, a[0], &term) ||
        !ApplyBinary(in, Operator::kAdd, total, term, &next)) {
      return false;
    }
    total = std::move(next);
  }
  *out = std::move(total);
  return true;
}

bool Batch(Interpreter& in, const Value& self, const Bound& a, Value* out) {
  std::vector<Value> items, rows, row;
  int64_t size = 0;
  if (!in.Iterate(self, &items) || !a.IntegerOr(in, 0, 0, &size)) return false;
  if (size < 1) return in.Fail("batch: linecount must be at least 1");
  for (Value& item : items) {
    row.push_back(std::move(item));
    if (static_cast<int64_t>(row.size()) < size) continue;
    rows.push_back(Value::List(std::move(row)));
    row.clear();
  }
  if (!row.empty()) {
    if (a.has(1) && size > 100'000) return in.Fail("batch: linecount is more than 100000");
    while (a.has(1) && static_cast<int64_t>(row.size()) < size) row.push_back(*a[1]);
    rows.push_back(Value::List(std::move(row)));
  }
  *out = Value::List(std::move(rows));
  return true;
}

constexpr FilterEntry kListFilters[] = {
    {"first", First, ""},
    {"last", Last, ""},
    {"list", ToList, ""},
    {"reverse", Reverse, ""},
    {"items", Items, ""},
    {"join", Join, "d,attribute"},
    {"sort", Sort, "reverse,case_sensitive,attribute"},
    {"dictsort", DictSort, "case_sensitive,by,reverse"},
    {"unique", Unique, "case_sensitive,attribute"},
    {"max", Extreme<true>, "case_sensitive,attribute"},
    {"min", Extreme<false>, "case_sensitive,attribute"},
    {"sum", Sum, "attribute,start"},
    {"batch", Batch, "!linecount,fill_with"},
};

}  // namespace

absl::Span<const FilterEntry> ListFilters() { return kListFilters; }

bool MapFilter(Interpreter& in, const Value& self, const Arguments& arguments, Value* out) {
  std::vector<Value> items, mapped;
  if (!in.Iterate(self, &items)) return false;
  const Value* attribute = nullptr;
  const Value* otherwise = nullptr;
  Arguments rest;
  for (const auto& [name, value] : arguments.named) {
    if (arguments.positional.empty() && name == "attribute") {
      attribute = &value;
    } else if (arguments.positional.empty() && name == "default") {
      otherwise = &value;
    } else {
      rest.named.emplace_back(name, value);
    }
  }
  if (attribute == nullptr) {
    if (arguments.positional.empty())
      return in.Fail("map: the name of a filter or an attribute is required");
    if (!in.ExpectString(arguments.positional[0], "name of a filter")) return false;
    rest.positional.assign(arguments.positional.begin() + 1, arguments.positional.end());
  } else if (!rest.named.empty()) {
    return in.Fail(absl::StrCat("map: unexpected argument '", rest.named[0].first, "'"));
  }
  for (const Value& item : items) {
    Value value;
    if (attribute != nullptr) {
      if (!ItemAttribute(in, item, attribute, &value)) return false;
      if (value.is(Type::kUndefined) && otherwise != nullptr) value = *otherwise;
    } else if (!in.ApplyFilter(arguments.positional[0].str(), item, rest, &value)) {
      return false;
    }
    mapped.push_back(std::move(value));
  }
  *out = Value::List(std::move(mapped));
  return true;
}

bool IsSelection(std::string_view name) {
  return name == "select" || name == "reject" || name == "selectattr" || name == "rejectattr";
}

bool SelectionFilter(Interpreter& in, std::string_view name, const Value& self,
                     const Arguments& arguments, Value* out) {
  const bool by_attribute = name == "selectattr" || name == "rejectattr";
  const bool keeps = name == "select" || name == "selectattr";
  const size_t first = by_attribute ? 1 : 0;
  if (arguments.positional.size() < first) return in.Fail("an attribute name is required");
  std::vector<Value> items, kept;
  if (!in.Iterate(self, &items)) return false;
  Arguments rest;
  rest.named = arguments.named;
  const bool has_test = arguments.positional.size() > first;
  if (has_test) {
    if (!in.ExpectString(arguments.positional[first], "name of a test")) return false;
    rest.positional.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(first) + 1,
                           arguments.positional.end());
  }
  for (const Value& item : items) {
    Value value;
    if (!ItemAttribute(in, item, by_attribute ? &arguments.positional[0] : nullptr, &value)) {
      return false;
    }
    bool holds = IsTrue(value);
    if (has_test && !in.ApplyTest(arguments.positional[first].str(), value, rest, &holds)) {
      return false;
    }
    if (holds == keeps) kept.push_back(item);
  }
  *out = Value::List(std::move(kept));
  return true;
}

}  // namespace trainerd::engine::jinja
