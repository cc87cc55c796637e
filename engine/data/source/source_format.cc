// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/source_format.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/contract/config/yaml_to_proto.h"

namespace trainerd::engine {
namespace {

using nlohmann::ordered_json;

struct ShareGptRole {
  const char* from;
  const char* role;
};
// Spellings in use; "from" of a known role counts as that role.
constexpr std::array<ShareGptRole, 12> kShareGptRoles = {{{"human", "user"},
                                                          {"user", "user"},
                                                          {"gpt", "assistant"},
                                                          {"assistant", "assistant"},
                                                          {"chatgpt", "assistant"},
                                                          {"bing", "assistant"},
                                                          {"bard", "assistant"},
                                                          {"system", "system"},
                                                          {"tool", "tool"},
                                                          {"function_response", "tool"},
                                                          {"observation", "tool"},
                                                          {"ipython", "tool"}}};

RecordError Fault(std::string code, std::string message) {
  return {.code = std::move(code), .message = std::move(message)};
}

ordered_json Message(const std::string& role, ordered_json content) {
  ordered_json message = ordered_json::object();
  message["role"] = role;
  message["content"] = std::move(content);
  return message;
}

RecordError MissingKey(const ordered_json& row, const char* key, SourceFormat format) {
  if (format == SourceFormat::kMessages) {
    return Fault(
        "NO_MESSAGES",
        absl::StrCat("the record has no \"messages\"; it has the keys ", ShownKeys(row),
                     "; a record has messages, or prompt and completion, or conversations, or "
                     "instruction and output"));
  }
  return Fault("NO_MESSAGES",
               absl::StrCat("the record has no \"", key, "\"; it has the keys ", ShownKeys(row),
                            "; the file's first record has the form ", FormatName(format)));
}

// The text of row[key]; false when it is there and no text.
bool TakeText(ordered_json* row, const char* key, std::string* text) {
  const auto found = row->find(key);
  if (found == row->end() || found->is_null()) return true;
  if (!found->is_string()) return false;
  *text = std::move(found->get_ref<std::string&>());
  return true;
}

RecordError NotText(const ordered_json& row, const char* key) {
  return Fault("BAD_SCHEMA",
               absl::StrCat("\"", key, "\" is ", ShownJson(row[key]), "; it must be text"));
}

std::optional<RecordError> AddSystem(ordered_json* row, ordered_json* messages) {
  std::string system;
  if (!TakeText(row, "system", &system)) return NotText(*row, "system");
  if (!system.empty()) messages->push_back(Message("system", std::move(system)));
  return std::nullopt;
}

// A text becomes one message of `role`; a list of messages is taken over.
std::optional<RecordError> AddTurns(ordered_json* row, const char* key, const char* role,
                                    bool train, ordered_json* messages) {
  ordered_json& value = (*row)[key];
  if (value.is_string()) {
    messages->push_back(Message(role, std::move(value)));
    return std::nullopt;
  }
  if (!value.is_array()) {
    return Fault("BAD_SCHEMA", absl::StrCat("\"", key, "\" is ", ShownJson(value),
                                            "; it must be text or a list of messages"));
  }
  for (ordered_json& message : value) {
    if (!train && message.is_object() && message.value("role", ordered_json()) == "assistant") {
      message["train"] = false;
    }
    messages->push_back(std::move(message));
  }
  return std::nullopt;
}

std::optional<RecordError> FromPromptCompletion(ordered_json* row, ordered_json* messages) {
  if (auto fault = AddTurns(row, "prompt", "user", /*train=*/false, messages)) return fault;
  return AddTurns(row, "completion", "assistant", /*train=*/true, messages);
}

std::optional<RecordError> FromShareGpt(ordered_json* row, ordered_json* messages) {
  ordered_json& turns = (*row)["conversations"];
  if (!turns.is_array()) {
    return Fault("BAD_SCHEMA", absl::StrCat("\"conversations\" is ", ShownJson(turns),
                                            "; it must be a list of "
                                            "{\"from\": …, \"value\": …}"));
  }
  if (auto fault = AddSystem(row, messages)) return fault;
  for (size_t i = 0; i < turns.size(); ++i) {
    const std::string where = absl::StrCat("conversations[", i, "]");
    ordered_json& turn = turns[i];
    if (turn.is_object() && turn.contains("role") && !turn.contains("from")) {
      messages->push_back(std::move(turn));  // the list is named so, its entries are messages
      continue;
    }
    if (!turn.is_object() || !turn.contains("from") || !turn["from"].is_string() ||
        !turn.contains("value") || !turn["value"].is_string()) {
      return Fault("BAD_SCHEMA", absl::StrCat(where, " is ", ShownJson(turn),
                                              "; it must be {\"from\": text, \"value\": text}"));
    }
    const std::string& from = turn["from"].get_ref<const std::string&>();
    const char* role = nullptr;
    for (const ShareGptRole& known : kShareGptRoles) {
      if (from == known.from) role = known.role;
    }
    if (role == nullptr) {
      std::vector<std::string> names;
      for (const ShareGptRole& known : kShareGptRoles) names.push_back(known.from);
      const std::string near = NearestWord(from, names);
      return Fault(
          "UNKNOWN_ROLE",
          absl::StrCat("unknown role ", ShownJson(turn["from"]), " in ", where,
                       near.empty() ? "" : absl::StrCat("; did you mean \"", near, "\"?")));
    }
    ordered_json message = Message(role, std::move(turn["value"]));
    for (const char* key : {"weight", "train"}) {
      if (turn.contains(key)) message[key] = turn[key];
    }
    messages->push_back(std::move(message));
  }
  return std::nullopt;
}

std::optional<RecordError> FromAlpaca(ordered_json* row, ordered_json* messages) {
  if (auto fault = AddSystem(row, messages)) return fault;
  std::string instruction, input, output;
  if (!TakeText(row, "instruction", &instruction)) return NotText(*row, "instruction");
  if (!TakeText(row, "input", &input)) return NotText(*row, "input");
  if (!TakeText(row, "output", &output)) return NotText(*row, "output");
  if (!input.empty()) absl::StrAppend(&instruction, instruction.empty() ? "" : "\n\n", input);
  messages->push_back(Message("user", std::move(instruction)));
  messages->push_back(Message("assistant", std::move(output)));
  return std::nullopt;
}

}  // namespace

const char* FormatName(SourceFormat format) {
  switch (format) {
    case SourceFormat::kMessages:
      return "messages";
    case SourceFormat::kPromptCompletion:
      return "prompt_completion";
    case SourceFormat::kShareGpt:
      return "sharegpt";
    case SourceFormat::kAlpaca:
      return "alpaca";
  }
  return "";
}

std::string FormatsText(const FileFormats& formats) {
  std::string by_file;
  bool equal = true;
  for (const auto& [path, format] : formats) {
    equal &= format == formats.front().second;
    absl::StrAppend(&by_file, by_file.empty() ? "" : ", ", path, ": ", FormatName(format));
  }
  return equal && !formats.empty() ? FormatName(formats.front().second) : by_file;
}

std::optional<SourceFormat> DetectFormat(const ordered_json& row) {
  if (!row.is_object()) return std::nullopt;
  if (row.contains("messages")) return SourceFormat::kMessages;
  if (row.contains("prompt") && row.contains("completion")) return SourceFormat::kPromptCompletion;
  if (row.contains("conversations")) return SourceFormat::kShareGpt;
  if (row.contains("instruction") && row.contains("output")) return SourceFormat::kAlpaca;
  return std::nullopt;
}

std::optional<RecordError> TakeMessages(SourceFormat format, ordered_json* row,
                                        ordered_json* messages) {
  *messages = ordered_json::array();
  switch (format) {
    case SourceFormat::kMessages:
      if (!row->contains("messages")) return MissingKey(*row, "messages", format);
      *messages = std::move((*row)["messages"]);
      return std::nullopt;
    case SourceFormat::kPromptCompletion:
      for (const char* key : {"prompt", "completion"}) {
        if (!row->contains(key)) return MissingKey(*row, key, format);
      }
      return FromPromptCompletion(row, messages);
    case SourceFormat::kShareGpt:
      if (!row->contains("conversations")) return MissingKey(*row, "conversations", format);
      return FromShareGpt(row, messages);
    case SourceFormat::kAlpaca:
      for (const char* key : {"instruction", "output"}) {
        if (!row->contains(key)) return MissingKey(*row, key, format);
      }
      return FromAlpaca(row, messages);
  }
  return std::nullopt;
}

std::string ShownJson(const ordered_json& value) {
  std::string text = value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  if (text.size() <= 60) return text;
  size_t end = 57;
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xc0) == 0x80) --end;  // no half character
  return text.substr(0, end) + "...";
}

std::string ShownKeys(const ordered_json& object) {
  std::string keys;
  for (const auto& item : object.items()) {
    absl::StrAppend(&keys, keys.empty() ? "" : ", ", "\"", item.key(), "\"");
    if (keys.size() > 120) return keys + ", ...";
  }
  return keys.empty() ? "none" : keys;
}

}  // namespace trainerd::engine
