// SPDX-License-Identifier: Apache-2.0
// Python's "..." % values and "...".format(...) for templates.
#pragma once

#include <vector>

#include "engine/text/jinja/interpreter.h"

namespace trainerd::engine::jinja {

// format % values. Returns false after in.Fail(). Does not support %(name)s.
bool FormatPercent(Interpreter& in, const TaggedText& format, const std::vector<Value>& values,
                   Value* out);

// format.format(arguments): {}, {0}, {name} and {{ }}. Conversions and format specifications are
// errors. Returns false after in.Fail().
bool FormatBraces(Interpreter& in, const TaggedText& format, const Arguments& arguments,
                  Value* out);

}  // namespace trainerd::engine::jinja
