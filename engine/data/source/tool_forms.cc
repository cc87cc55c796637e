// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/tool_forms.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/data/source/source_format.h"
#include "engine/formats/json.h"

namespace trainerd::engine {
namespace {

using nlohmann::ordered_json;

RecordError BadSchema(std::string message) {
  return {.code = "BAD_SCHEMA", .message = std::move(message)};
}

// The JSON that a text spells; the text itself if it spells none.
ordered_json Unquoted(ordered_json value) {
  if (!value.is_string()) return value;
  ordered_json parsed;
  if (ReadJsonWithSpelling(value.get_ref<const std::string&>(), &parsed)) return value;
  return parsed;
}

// "arguments" may be an object or its JSON text. Text that spells no object is left as it is.
void UnquoteArguments(ordered_json* function) {
  const auto arguments = function->find("arguments");
  if (arguments == function->end()) {
    (*function)["arguments"] = ordered_json::object();
    return;
  }
  ordered_json object = Unquoted(*arguments);
  if (object.is_object()) *arguments = std::move(object);
}

// {"type": "function", "function": `function`}, and what else `call` has.
ordered_json ToolCall(ordered_json function, const ordered_json& call) {
  UnquoteArguments(&function);
  ordered_json result = ordered_json::object();
  result["type"] = "function";
  result["function"] = std::move(function);
  result.update(call);
  return result;
}

// nullopt: `call` names no function.
std::optional<ordered_json> ReadCall(ordered_json call) {
  if (!call.is_object()) return std::nullopt;
  if (std::optional<ordered_json> function = TakeKey(&call, "function")) {
    if (!function->is_object() || !function->contains("name")) return std::nullopt;
    return ToolCall(*std::move(function), call);
  }
  std::optional<ordered_json> name = TakeKey(&call, "name");
  if (!name || !name->is_string()) return std::nullopt;
  ordered_json function = ordered_json::object();
  function["name"] = *std::move(name);
  if (std::optional<ordered_json> arguments = TakeKey(&call, "arguments")) {
    function["arguments"] = *std::move(arguments);
  }
  return ToolCall(std::move(function), call);
}

bool HasOddNumber(const ordered_json& value) {
  return value.is_binary() ||
         (value.is_structured() && std::any_of(value.begin(), value.end(), HasOddNumber));
}

std::optional<RecordError> TakeList(const char* key, ordered_json value, ordered_json* list) {
  *list = Unquoted(std::move(value));
  // A column of JSON text is empty where a record has no tools.
  if (*list == "") *list = nullptr;
  if (list->is_null() || list->is_array()) return std::nullopt;
  return BadSchema(
      absl::StrCat("\"", key, "\" is ", ShownJson(*list), "; it must be a list of functions"));
}

}  // namespace

std::optional<RecordError> TakeTools(ordered_json* row, ordered_json* tools) {
  std::optional<ordered_json> list = TakeKey(row, "tools");
  std::optional<ordered_json> functions = TakeKey(row, "functions");
  if (list && functions) {
    return BadSchema("the record has \"tools\" and \"functions\"; keep one of them");
  }
  if (list) return TakeList("tools", *std::move(list), tools);
  if (!functions) return std::nullopt;
  if (auto fault = TakeList("functions", *std::move(functions), tools)) return fault;
  for (ordered_json& function : *tools) {
    if (function.is_object() && function.contains("function")) continue;
    function = {{"type", "function"}, {"function", std::move(function)}};
  }
  return std::nullopt;
}

std::optional<RecordError> ConvertFunctionCall(const std::string& where, ordered_json* message) {
  std::optional<ordered_json> call = TakeKey(message, "function_call");
  if (!call) return std::nullopt;
  if (message->contains("tool_calls")) {
    return BadSchema(
        absl::StrCat(where, " has \"function_call\" and \"tool_calls\"; keep one of them"));
  }
  if (!message->contains("content")) (*message)["content"] = "";
  return ReadCalls(*call, where + ".function_call", &(*message)["tool_calls"]);
}

std::optional<RecordError> ReadCalls(const ordered_json& value, const std::string& where,
                                     ordered_json* calls) {
  ordered_json list = Unquoted(value);
  if (!list.is_array()) list = ordered_json::array({std::move(list)});
  *calls = ordered_json::array();
  for (ordered_json& item : list) {
    std::optional<ordered_json> call = ReadCall(std::move(item));
    if (!call) break;
    calls->push_back(*std::move(call));
  }
  if (!calls->empty() && calls->size() == list.size()) return std::nullopt;
  return BadSchema(absl::StrCat(where, " is ", ShownJson(value),
                                "; it must be a call, {\"name\": …, \"arguments\": {…}}, or a list "
                                "of calls"));
}

std::optional<RecordError> RefuseOddNumbers(const ordered_json& value, const std::string& where) {
  if (!HasOddNumber(value)) return std::nullopt;
  if (value.is_binary()) {
    return BadSchema(absl::StrCat(where, " is ", ShownJson(value),
                                  "; a number must fit into 64 bits; write it as text"));
  }
  if (value.is_array()) {
    for (size_t i = 0; i < value.size(); ++i) {
      if (auto fault = RefuseOddNumbers(value[i], absl::StrCat(where, "[", i, "]"))) return fault;
    }
  }
  if (value.is_object()) {
    for (const auto& [key, item] : value.items()) {
      if (auto fault = RefuseOddNumbers(item, absl::StrCat(where, ".", key))) return fault;
    }
  }
  return std::nullopt;
}

}  // namespace trainerd::engine
