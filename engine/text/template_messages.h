// SPDX-License-Identifier: Apache-2.0
// The variables `messages` and `tools` of a chat template: JSON → values that know the message and
// the key from which they come.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/text/jinja/value/value.h"
#include "engine/text/role_traits.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine {

// The traits of a role; null = messages of the role reach the template as they are.
using TraitsOfRole = std::function<const RoleTraits*(const std::string& role)>;

// Keys whose value is null are omitted, as in transformers. List content and text take the form
// of the role's traits. Errors: InvalidArgument if `messages` is not a list of
// objects, or a message is nested too deeply.
absl::StatusOr<jinja::Value> MessagesValue(const nlohmann::ordered_json& messages,
                                           const TraitsOfRole& traits);

jinja::Value ToolsValue(const nlohmann::ordered_json& tools);

// The keys under which transformers looks for a message's reasoning, in this order.
inline constexpr const char* kReasoningKeys[] = {"reasoning_content", "thinking", "reasoning"};

// The texts of a list of text parts, joined; null for another value.
std::optional<std::string> JoinedParts(const nlohmann::ordered_json& content);

}  // namespace trainerd::engine
