// SPDX-License-Identifier: Apache-2.0
// Python's "..." % values and "...".format(...) for templates.
#pragma once

#include <vector>

#include "engine/text/jinja/interpreter.h"

namespace trainerd::engine::jinja {

// format % values. False after in.Fail(). %(name)s is not supported.
bool FormatPercent(Interpreter& in, const TaggedText& format, const std::vector<Value>& values,
                   Value* out);

// format.format(arguments): {}, {0}, {name} and {{ }}; conversions and format specifications are
// refused. False after in.Fail().
bool FormatBraces(Interpreter& in, const TaggedText& format, const Arguments& arguments,
                  Value* out);

}  // namespace trainerd::engine::jinja
