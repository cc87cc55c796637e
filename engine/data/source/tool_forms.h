// SPDX-License-Identifier: Apache-2.0
// The forms in which records bring tools and tool calls, and how each becomes what chat templates
// read: "tools": [{"type": "function", "function": {…}}, …] and "tool_calls": [{"type": "function",
// "function": {"name", "arguments"}}, …].
#pragma once

#include <optional>
#include <string>

#include "engine/data/source/record_error.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine {

// Moves "tools", or OpenAI's older "functions", out of `row`: a list, or that list as JSON text (as
// data sets with a fixed schema store it). *tools stays null if the row has none; an empty list
// stays one.
std::optional<RecordError> TakeTools(nlohmann::ordered_json* row, nlohmann::ordered_json* tools);

// Replaces OpenAI's older "function_call" of a message by "tool_calls".
std::optional<RecordError> ConvertFunctionCall(const std::string& where,
                                               nlohmann::ordered_json* message);

// Fills *calls from `value`: {"name", "arguments"} as JSON text, or a list of these.
std::optional<RecordError> ReadCalls(const nlohmann::ordered_json& value, const std::string& where,
                                     nlohmann::ordered_json* calls);

// Names the first odd number (engine/formats/json.h) in `value`, which ReadJsonWithSpelling read:
// to render another number in its place would be wrong.
std::optional<RecordError> RefuseOddNumbers(const nlohmann::ordered_json& value,
                                            const std::string& where);

}  // namespace trainerd::engine
