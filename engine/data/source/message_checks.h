// SPDX-License-Identifier: Apache-2.0
// Checks of a list of messages: roles, content, tool calls. Oddities of their form that have one
// meaning are made uniform.
#pragma once

#include <optional>
#include <string>

#include "engine/data/source/record_error.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine {

// `weight` of a message: its target tokens' losses are multiplied by it.
inline constexpr int kMaxMessageWeight = 1000;

// A key whose value is null counts as absent.
void EraseNulls(nlohmann::ordered_json* object);

// Checks the messages of `key` of the record. *have_calls becomes true if one of them has calls.
std::optional<RecordError> CheckMessages(const char* key, nlohmann::ordered_json* messages,
                                         bool* have_calls);

}  // namespace trainerd::engine
