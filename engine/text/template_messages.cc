// SPDX-License-Identifier: Apache-2.0
#include "engine/text/template_messages.h"

#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace trainerd::engine {
namespace {

using jinja::Tag;
using jinja::Value;
using Json = nlohmann::ordered_json;

bool LooksLikeJson(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string::npos && (text[first] == '{' || text[first] == '[');
}

// A call or its "function": arguments that are JSON text are marked as such.
Value CallValue(const Json& call, Tag tag) {
  if (!call.is_object()) return Value::FromJson(call, tag);
  std::vector<std::pair<Value, Value>> entries;
  entries.reserve(call.size());
  for (const auto& item : call.items()) {
    Tag value_tag = tag;
    const std::string* text = item.value().get_ptr<const std::string*>();
    value_tag.json_text = text != nullptr && item.key() == "arguments" && LooksLikeJson(*text);
    const bool is_function = item.key() == "function" && item.value().is_object();
    entries.emplace_back(
        Value::String(item.key(), tag),
        is_function ? CallValue(item.value(), tag) : Value::FromJson(item.value(), value_tag));
  }
  return Value::Dict(std::move(entries), tag);
}

Value CallsValue(const Json& calls, Tag tag) {
  if (!calls.is_array()) return Value::FromJson(calls, tag);
  std::vector<Value> values;
  values.reserve(calls.size());
  for (const Json& call : calls) values.push_back(CallValue(call, tag));
  return Value::List(std::move(values), tag);
}

Value ContentValue(const Json& content, const RoleTraits* traits, Tag tag) {
  if (traits == nullptr || (content.is_array() && traits->keeps_list())) {
    return Value::FromJson(content, tag);
  }
  std::optional<std::string> joined = JoinedParts(content);
  if (traits->wraps_text() && (content.is_string() || joined.has_value())) {
    const Json part = {{"type", "text"}, {"text", joined.has_value() ? Json(*joined) : content}};
    return Value::FromJson(Json::array({part}), tag);
  }
  return joined.has_value() ? Value::String(*std::move(joined), tag)
                            : Value::FromJson(content, tag);
}

// transformers passes the reasoning to templates as "reasoning_content" and "thinking", whatever
// its key was.
struct Reasoning {
  const Json* value = nullptr;  // null = none
  Tag tag;
};

Reasoning FindReasoning(const Json& message, Tag tag) {
  for (const char* key : kReasoningKeys) {
    const auto found = message.find(key);
    if (found == message.end() || found->is_null()) continue;
    tag.field = jinja::FieldOfKey(static_cast<size_t>(std::distance(message.begin(), found)));
    return {&*found, tag};
  }
  return {};
}

// Message `index` as the template receives it. Its role does not count as content.
Value MessageValue(const Json& message, int32_t index, const RoleTraits* traits) {
  const Tag content{index, true, false};
  const Reasoning reasoning = FindReasoning(message, content);
  std::vector<std::pair<Value, Value>> entries;
  entries.reserve(message.size() + 2);
  const auto present = [&](const char* key) {
    const auto found = message.find(key);
    return found != message.end() && !found->is_null();
  };
  const auto add_reasoning = [&](const char* key) {
    entries.emplace_back(Value::String(key), Value::FromJson(*reasoning.value, reasoning.tag));
  };
  if (reasoning.value != nullptr && !present("thinking")) add_reasoning("thinking");
  size_t position = 0;
  for (const auto& field : message.items()) {
    Tag tag = content;
    tag.field = jinja::FieldOfKey(position++);
    const Json& value = field.value();
    if (value.is_null()) continue;
    const std::string& key = field.key();
    Value converted;
    if (key == "role") {
      const Tag role{index, false, false};
      converted = traits != nullptr && !traits->rendered_as.empty()
                      ? Value::String(traits->rendered_as, role)
                      : Value::FromJson(value, role);
    } else if (key == "content") {
      converted = ContentValue(value, traits, tag);
    } else if (key == "tool_calls") {
      converted = CallsValue(value, tag);
    } else if (key == "reasoning_content") {
      converted = Value::FromJson(*reasoning.value, reasoning.tag);
    } else {
      converted = Value::FromJson(value, tag);
    }
    entries.emplace_back(Value::String(key, tag), std::move(converted));
  }
  if (reasoning.value != nullptr && !present("reasoning_content")) {
    add_reasoning("reasoning_content");
  }
  return Value::Dict(std::move(entries), content);
}

const RoleTraits* TraitsOf(const Json& message, const TraitsOfRole& traits) {
  const auto role = message.find("role");
  if (role == message.end() || !role->is_string()) return nullptr;
  return traits(role->get_ref<const std::string&>());
}

}  // namespace

absl::StatusOr<Value> MessagesValue(const Json& messages, const TraitsOfRole& traits) {
  if (!messages.is_array()) return absl::InvalidArgumentError("messages must be a list");
  std::vector<Value> values;
  values.reserve(messages.size());
  for (size_t i = 0; i < messages.size(); ++i) {
    if (!messages[i].is_object()) {
      return absl::InvalidArgumentError(absl::StrCat("message ", i, " must be an object"));
    }
    values.push_back(
        MessageValue(messages[i], static_cast<int32_t>(i), TraitsOf(messages[i], traits)));
    if (values.back().depth() > jinja::kMaxValueDepth) {
      return absl::InvalidArgumentError(absl::StrCat("message ", i, " is nested too deeply"));
    }
  }
  return Value::List(std::move(values));
}

Value ToolsValue(const Json& tools) {
  Tag tag;
  tag.field = jinja::kToolsField;
  return Value::FromJson(tools, tag);
}

std::optional<std::string> JoinedParts(const Json& content) {
  if (!content.is_array()) return std::nullopt;
  std::string joined;
  for (const Json& part : content) {
    const Json* text = part.is_object() && part.contains("text") ? &part["text"] : nullptr;
    if (text == nullptr || !text->is_string()) return std::nullopt;
    joined += text->get_ref<const std::string&>();
  }
  return joined;
}

}  // namespace trainerd::engine
