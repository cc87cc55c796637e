// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/conversation.h"

#include <array>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/data/source/json_convert.h"
#include "proto/base/utf8.h"
#include "proto/contract/config/yaml_to_proto.h"
#include "simdjson.h"

namespace trainerd::engine {
namespace {

using nlohmann::ordered_json;

static_assert(kJsonPadding >= simdjson::SIMDJSON_PADDING);

constexpr std::array<const char*, 4> kRoles = {"system", "user", "assistant", "tool"};

RecordError Fault(std::string code, std::string message, int64_t column = 0) {
  return {.code = std::move(code), .message = std::move(message), .column = column};
}

// Text parts [{"type": "text", "text": …}, …] or plain strings, joined.
std::optional<RecordError> JoinParts(const std::string& where, ordered_json* content) {
  std::string text;
  for (size_t i = 0; i < content->size(); ++i) {
    const ordered_json& part = (*content)[i];
    if (part.is_string()) {
      text += part.get_ref<const std::string&>();
      continue;
    }
    if (!part.is_object()) {
      return Fault("BAD_SCHEMA", absl::StrCat(where, ".content[", i, "] is ", ShownJson(part),
                                              "; a part is {\"type\": \"text\", \"text\": …}"));
    }
    const auto type = part.find("type");
    const auto value = part.find("text");
    if (type != part.end() && *type != "text") {
      return Fault("BAD_SCHEMA",
                   absl::StrCat(where, ".content[", i, "] has type ", ShownJson(*type),
                                "; only text parts can be trained"));
    }
    if (value == part.end() || !value->is_string()) {
      return Fault("BAD_SCHEMA",
                   absl::StrCat(where, ".content[", i, "] has no \"text\" that is a string"));
    }
    text += value->get_ref<const std::string&>();
  }
  *content = std::move(text);
  return std::nullopt;
}

std::optional<RecordError> CheckRole(const std::string& where, const ordered_json& message) {
  const auto role = message.find("role");
  if (role == message.end()) {
    return Fault("BAD_SCHEMA",
                 absl::StrCat(where, " has no \"role\"; it has the keys ", ShownKeys(message)));
  }
  if (!role->is_string()) {
    return Fault("BAD_SCHEMA",
                 absl::StrCat(where, ".role is ", ShownJson(*role), "; it must be text"));
  }
  const std::string& name = role->get_ref<const std::string&>();
  for (const char* known : kRoles) {
    if (name == known) return std::nullopt;
  }
  const std::string near = NearestWord(name, {kRoles.begin(), kRoles.end()});
  return Fault("UNKNOWN_ROLE",
               absl::StrCat("unknown role ", ShownJson(*role), " in ", where,
                            near.empty() ? "" : absl::StrCat("; did you mean \"", near, "\"?"),
                            " Roles are system, user, assistant and tool"));
}

std::optional<RecordError> CheckContent(const std::string& where, ordered_json* message) {
  const auto calls = message->find("tool_calls");
  if (calls != message->end() && !calls->is_array() && !calls->is_null()) {
    return Fault("BAD_SCHEMA",
                 absl::StrCat(where, ".tool_calls is ", ShownJson(*calls), "; it must be a list"));
  }
  const bool has_calls = calls != message->end() && calls->is_array() && !calls->empty();
  const auto content = message->find("content");
  if (content == message->end() || content->is_null()) {
    if (has_calls) return std::nullopt;
    if ((*message)["role"] == "assistant") {
      (*message)["content"] = "";
      return std::nullopt;
    }
    return Fault("BAD_SCHEMA", absl::StrCat(where,
                                            " has no \"content\"; only an assistant message "
                                            "with tool_calls may omit it"));
  }
  if (content->is_string()) return std::nullopt;
  if (content->is_array()) return JoinParts(where, &*content);
  return Fault("BAD_SCHEMA", absl::StrCat(where, ".content is ", ShownJson(*content),
                                          "; it must be text or a list of text parts"));
}

std::optional<RecordError> CheckSwitches(const std::string& where, const ordered_json& message) {
  const auto weight = message.find("weight");
  if (weight != message.end() && !weight->is_null() && *weight != 0 && *weight != 1) {
    return Fault("BAD_SCHEMA", absl::StrCat(where, ".weight is ", ShownJson(*weight),
                                            "; it is 0 (not trained) or 1"));
  }
  const auto train = message.find("train");
  if (train != message.end() && !train->is_null() && !train->is_boolean()) {
    return Fault("BAD_SCHEMA",
                 absl::StrCat(where, ".train is ", ShownJson(*train), "; it is true or false"));
  }
  return std::nullopt;
}

std::optional<RecordError> CheckMessages(ordered_json* messages) {
  if (!messages->is_array()) {
    return Fault("BAD_SCHEMA", absl::StrCat("\"messages\" is ", ShownJson(*messages),
                                            "; it must be a list of "
                                            "{\"role\": …, \"content\": …}"));
  }
  if (messages->empty()) return Fault("NO_MESSAGES", "\"messages\" is an empty list");
  for (size_t i = 0; i < messages->size(); ++i) {
    const std::string where = absl::StrCat("messages[", i, "]");
    ordered_json& message = (*messages)[i];
    if (!message.is_object()) {
      return Fault("BAD_SCHEMA", absl::StrCat(where, " is ", ShownJson(message),
                                              "; it must be {\"role\": …, \"content\": …}"));
    }
    if (auto fault = CheckRole(where, message)) return fault;
    if (auto fault = CheckContent(where, &message)) return fault;
    if (auto fault = CheckSwitches(where, message)) return fault;
  }
  return std::nullopt;
}

// `tools`: a list of functions, or that list as JSON text (as data sets with a fixed schema store
// it).
std::optional<RecordError> TakeTools(ordered_json* row, ordered_json* tools) {
  const auto found = row->find("tools");
  if (found == row->end() || found->is_null()) return std::nullopt;
  *tools = std::move(*found);
  if (tools->is_string()) {
    ordered_json parsed = ordered_json::parse(tools->get_ref<const std::string&>(), nullptr, false);
    if (!parsed.is_discarded()) *tools = std::move(parsed);
  }
  if (tools->is_null()) return std::nullopt;
  if (!tools->is_array()) {
    return Fault("BAD_SCHEMA", absl::StrCat("\"tools\" is ", ShownJson(*tools),
                                            "; it must be a list of functions"));
  }
  if (tools->empty()) *tools = nullptr;
  return std::nullopt;
}

std::optional<RecordError> TakeVariables(ordered_json* row, ordered_json* variables) {
  const auto found = row->find("chat_template_kwargs");
  if (found == row->end() || found->is_null()) return std::nullopt;
  if (!found->is_object()) {
    return Fault("BAD_SCHEMA", absl::StrCat("\"chat_template_kwargs\" is ", ShownJson(*found),
                                            "; it must be an object"));
  }
  *variables = std::move(*found);
  return std::nullopt;
}

RecordError SyntaxFault(std::string_view line, simdjson::error_code error) {
  if (error == simdjson::UTF8_ERROR) {
    const size_t at = FindInvalidUtf8(line);
    return Fault("BAD_UTF8", "the line is not UTF-8; convert the file, for example: iconv -t UTF-8",
                 at == std::string_view::npos ? 0 : static_cast<int64_t>(at) + 1);
  }
  const JsonSyntaxError place = FindJsonSyntaxError(line);
  if (place.column == 0) {
    return Fault("BAD_JSON",
                 absl::StrCat("the line cannot be read: ", simdjson::error_message(error)));
  }
  return Fault("BAD_JSON", absl::StrCat("the line is not JSON: ", place.message), place.column);
}

}  // namespace

struct ConversationParser::Impl {
  simdjson::dom::parser parser;
};

ConversationParser::ConversationParser() : impl_(std::make_unique<Impl>()) {}
ConversationParser::~ConversationParser() = default;

std::optional<RecordError> ConversationParser::Parse(std::string_view line, SourceFormat format,
                                                     Conversation* conversation) {
  simdjson::dom::element element;
  const simdjson::error_code error =
      impl_->parser.parse(line.data(), line.size(), /*realloc_if_needed=*/false).get(element);
  if (error != simdjson::SUCCESS) return SyntaxFault(line, error);
  if (!element.is_object()) {
    return Fault(
        "BAD_SCHEMA",
        element.is_array()
            ? "the line is a JSON list; a JSONL file has one object per line, {\"messages\": […]}"
            : "the line is not a JSON object; a record is {\"messages\": […]}");
  }
  ordered_json row = ToOrderedJson(element);
  *conversation = Conversation{};
  if (auto fault = TakeMessages(format, &row, &conversation->messages)) return fault;
  if (auto fault = CheckMessages(&conversation->messages)) return fault;
  if (auto fault = TakeTools(&row, &conversation->tools)) return fault;
  return TakeVariables(&row, &conversation->variables);
}

std::optional<SourceFormat> ConversationParser::Detect(std::string_view line) {
  simdjson::dom::element element;
  if (impl_->parser.parse(line.data(), line.size(), /*realloc_if_needed=*/false).get(element) !=
      simdjson::SUCCESS) {
    return std::nullopt;
  }
  return DetectFormat(ToOrderedJson(element));
}

}  // namespace trainerd::engine
