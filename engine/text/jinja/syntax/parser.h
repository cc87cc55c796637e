// SPDX-License-Identifier: Apache-2.0
// Parses template source by the grammar of Jinja 3.1 with the loop controls extension and the
// {% generation %} tag of transformers. Templates cannot include or extend others.
#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/text/jinja/syntax/ast.h"

namespace trainerd::engine::jinja {

// Errors: InvalidArgument with the template's line and column.
absl::StatusOr<std::unique_ptr<Template>> Parse(std::string_view source);

}  // namespace trainerd::engine::jinja
