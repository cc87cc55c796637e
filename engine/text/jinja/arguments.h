// SPDX-License-Identifier: Apache-2.0
// Matches the arguments of a call with the parameters of a filter, test, method or function.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

#include "engine/text/jinja/interpreter.h"

namespace trainerd::engine::jinja {

// The values of a call by parameter; null = not given.
class Bound {
 public:
  static constexpr size_t kMaxParameters = 8;

  // `parameters` is "first,second,…"; a '!' before a name marks a required parameter. Returns false
  // after in.Fail(), which names `function`.
  bool Bind(Interpreter& in, std::string_view function, std::string_view parameters,
            const Arguments& arguments);

  const Value* operator[](size_t i) const { return values_[i]; }
  // Whether parameter `i` was given with a value other than none.
  bool has(size_t i) const { return values_[i] != nullptr && !values_[i]->is(Type::kNone); }
  bool IsTrueOr(size_t i, bool otherwise) const {
    return values_[i] != nullptr ? IsTrue(*values_[i]) : otherwise;
  }
  // These return false after in.Fail() if the value has another type.
  bool IntegerOr(Interpreter& in, size_t i, int64_t otherwise, int64_t* out) const;
  bool StringOr(Interpreter& in, size_t i, std::string_view otherwise, std::string_view* out) const;

 private:
  std::array<const Value*, kMaxParameters> values_ = {};
};

}  // namespace trainerd::engine::jinja
