// SPDX-License-Identifier: Apache-2.0
// The functions that a chat template may call (interpreter.h): Jinja's own and those that
// transformers adds.
#include <algorithm>
#include <cstdio>
#include <ctime>

#include "absl/strings/str_cat.h"
#include "engine/text/jinja/arguments.h"
#include "engine/text/jinja/interpreter.h"

namespace trainerd::engine::jinja {
namespace {

constexpr int64_t kMaxRange = 100'000;  // Jinja's sandbox

bool Range(Interpreter& in, const Arguments& arguments, Value* out) {
  const auto& a = arguments.positional;
  if (a.empty() || a.size() > 3 || !arguments.named.empty()) {
    return in.Fail("range() takes 1 to 3 integers");
  }
  for (const Value& v : a) {
    if (v.is(Type::kUndefined)) return in.Fail(v.str());
    if (!v.is_integer()) return in.Fail("range() takes 1 to 3 integers");
  }
  const int64_t start = a.size() > 1 ? a[0].integer() : 0;
  const int64_t stop = a.size() > 1 ? a[1].integer() : a[0].integer();
  const int64_t step = a.size() > 2 ? a[2].integer() : 1;
  if (step == 0) return in.Fail("range() arg 3 must not be zero");
  std::vector<Value> items;
  for (__int128 i = start; step > 0 ? i < stop : i > stop; i += step) {
    if (static_cast<int64_t>(items.size()) == kMaxRange) {
      return in.Fail("range too big: more than 100000 items");
    }
    items.push_back(Value::Int(static_cast<int64_t>(i)));
  }
  *out = Value::List(std::move(items));
  return true;
}

// The entries of namespace(…) and dict(…): those of a dict, then the named arguments.
bool Entries(Interpreter& in, const Arguments& arguments,
             std::vector<std::pair<Value, Value>>* out) {
  if (arguments.positional.size() > 1 ||
      (!arguments.positional.empty() && !arguments.positional[0].is(Type::kDict))) {
    return in.Fail("expected one mapping and named arguments");
  }
  if (!arguments.positional.empty()) *out = arguments.positional[0].entries();
  for (const auto& [name, value] : arguments.named) {
    const auto same = std::find_if(out->begin(), out->end(), [&name = name](const auto& entry) {
      return entry.first.is(Type::kString) && entry.first.str() == name;
    });
    if (same != out->end()) {
      same->second = value;
    } else {
      out->emplace_back(Value::String(name), value);
    }
  }
  return true;
}

bool MakeDict(Interpreter& in, const Arguments& arguments, Value* out) {
  std::vector<std::pair<Value, Value>> entries;
  if (!Entries(in, arguments, &entries)) return false;
  *out = Value::Dict(std::move(entries));
  return true;
}

bool MakeNamespace(Interpreter& in, const Arguments& arguments, Value* out) {
  std::vector<std::pair<Value, Value>> entries;
  if (!Entries(in, arguments, &entries)) return false;
  auto ns = in.NewNamespace();
  for (auto& [key, value] : entries) {
    if (!in.ExpectString(key, "field of a namespace")) return false;
    if (!key.str().empty() && key.str()[0] == '_') {
      return in.Fail("cannot store an underscore attribute on a namespace");
    }
    ns->fields.emplace_back(key.str(), std::move(value));
  }
  *out = Value::Namespace(std::move(ns));
  return true;
}

bool RaiseException(Interpreter& in, const Arguments& arguments, Value*) {
  Bound bound;
  if (!bound.Bind(in, "raise_exception", "!message", arguments)) return false;
  return in.Fail(absl::StrCat("the template says: ", ToText(*bound[0]).text()));
}

bool StrftimeNow(Interpreter& in, const Arguments& arguments, Value* out) {
  Bound bound;
  std::string_view format;
  if (!bound.Bind(in, "strftime_now", "!format", arguments) ||
      !bound.StringOr(in, 0, "", &format)) {
    return false;
  }
  if (in.now().empty()) {
    return in.Fail("the template prints the current time, and none was fixed for this rendering");
  }
  std::tm time{};
  if (std::sscanf(in.now().c_str(), "%d-%d-%d %d:%d:%d", &time.tm_year, &time.tm_mon, &time.tm_mday,
                  &time.tm_hour, &time.tm_min, &time.tm_sec) != 6) {
    return in.Fail(absl::StrCat("\"", in.now(), "\" is not a time YYYY-MM-DD HH:MM:SS"));
  }
  time.tm_year -= 1900;
  time.tm_mon -= 1;
  timegm(&time);  // fills the day of the week and of the year
  // strftime returns 0 both for a result that is too long and for an empty one. The appended dot
  // makes every result that fits non-empty.
  std::string marked(format);
  marked.push_back('.');
  char buffer[1024];
  const size_t size = std::strftime(buffer, sizeof(buffer), marked.c_str(), &time);
  if (size == 0) return in.Fail("strftime_now: format is too long");
  *out = Value::String(std::string(buffer, size - 1));
  return true;
}

using Function = bool (*)(Interpreter& in, const Arguments& arguments, Value* out);
constexpr std::pair<std::string_view, Function> kFunctions[] = {
    {"range", Range},
    {"dict", MakeDict},
    {"namespace", MakeNamespace},
    {"raise_exception", RaiseException},
    {"strftime_now", StrftimeNow},
};

}  // namespace

bool IsBuiltinFunction(std::string_view name) {
  return std::any_of(std::begin(kFunctions), std::end(kFunctions),
                     [&](const auto& known) { return known.first == name; });
}

bool CallFunction(Interpreter& in, std::string_view name, const Arguments& arguments, Value* out) {
  for (const auto& [known, function] : kFunctions) {
    if (known == name) return function(in, arguments, out);
  }
  return in.Fail("unknown function");
}

}  // namespace trainerd::engine::jinja
