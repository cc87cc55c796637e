// SPDX-License-Identifier: Apache-2.0
// What the two files of methods share.
#pragma once

#include <string_view>

#include "absl/types/span.h"
#include "engine/text/jinja/arguments.h"
#include "engine/text/jinja/interpreter.h"

namespace trainerd::engine::jinja {

// False after in.Fail().
using Method = bool (*)(Interpreter& in, const Value& self, const Bound& arguments, Value* out);

struct MethodEntry {
  std::string_view name;
  Method method;                // null: str.format, which takes any arguments
  std::string_view parameters;  // see Bound::Bind
};

// Methods of str (string_methods.cc).
absl::Span<const MethodEntry> StringMethods();

}  // namespace trainerd::engine::jinja
