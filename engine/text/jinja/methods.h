// SPDX-License-Identifier: Apache-2.0
// What the files that implement methods share.
#pragma once

#include <string_view>

#include "absl/types/span.h"
#include "engine/text/jinja/arguments.h"
#include "engine/text/jinja/interpreter.h"

namespace trainerd::engine::jinja {

// Returns false after in.Fail().
using Method = bool (*)(Interpreter& in, const Value& self, const Bound& arguments, Value* out);

struct MethodEntry {
  std::string_view name;
  // Null for str.format, which takes any arguments.
  Method method;
  std::string_view parameters;  // see Bound::Bind
};

// Methods of str (string_methods.cc).
absl::Span<const MethodEntry> StringMethods();

}  // namespace trainerd::engine::jinja
