// SPDX-License-Identifier: Apache-2.0
// What the files that implement filters share.
#pragma once

#include <string_view>

#include "absl/types/span.h"
#include "engine/text/jinja/arguments.h"
#include "engine/text/jinja/interpreter.h"

namespace trainerd::engine::jinja {

// Returns false after in.Fail().
using Filter = bool (*)(Interpreter& in, const Value& self, const Bound& arguments, Value* out);

struct FilterEntry {
  std::string_view name;
  Filter filter;
  std::string_view parameters;  // see Bound::Bind
};

// Filters that take a list (list_filters.cc).
absl::Span<const FilterEntry> ListFilters();

// map('filter', …) and map(attribute='…').
bool MapFilter(Interpreter& in, const Value& self, const Arguments& arguments, Value* out);

// select, reject, selectattr and rejectattr, which take an optional test with arguments.
bool IsSelection(std::string_view name);
bool SelectionFilter(Interpreter& in, std::string_view name, const Value& self,
                     const Arguments& arguments, Value* out);

}  // namespace trainerd::engine::jinja
