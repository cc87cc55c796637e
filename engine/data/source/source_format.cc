// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/source_format.h"

#include <array>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/data/source/tool_forms.h"
#include "engine/formats/json.h"
#include "proto/contract/config/advice/nearest_word.h"

namespace trainerd::engine {
namespace {

using nlohmann::ordered_json;

// What a turn with some "from" becomes: a message, an assistant message whose value is a tool call
// as JSON text, or the record's tools (as JSON text too).
enum class TurnKind { kMessage, kCall, kTools };

struct ShareGptRole {
  std::string_view from;
  std::string_view role;
  TurnKind kind = TurnKind::kMessage;
};
// Spellings in use; "from" of a known role counts as that role.
constexpr std::array<ShareGptRole, 20> kShareGptRoles = {
    {{"human", "user"},
     {"user", "user"},
     {"gpt", "assistant"},
     {"assistant", "assistant"},
     {"chatgpt", "assistant"},
     {"bing", "assistant"},
     {"bard", "assistant"},
     {"model", "assistant"},
     {"system", "system"},
     {"developer", "developer"},
     {"tool", "tool"},
     {"function_response", "tool"},
     {"tool_response", "tool"},
     {"observation", "tool"},
     {"ipython", "tool"},
     {"function", "function"},
     {"function_call", "assistant", TurnKind::kCall},
     {"tool_call", "assistant", TurnKind::kCall},
     {"tools", "", TurnKind::kTools},
     {"functions", "", TurnKind::kTools}}};

RecordError Fault(std::string code, std::string message) {
  return {.code = std::move(code), .message = std::move(message)};
}

// Moves the text of row[key] out; false when it is there and no text.
bool TakeText(ordered_json* row, const char* key, std::string* text) {
  const auto found = row->find(key);
  if (found == row->end()) return true;
  if (!found->is_string()) return false;
  *text = std::move(found->get_ref<std::string&>());
  row->erase(found);
  return true;
}

RecordError NotText(const ordered_json& row, const char* key) {
  return Fault("BAD_SCHEMA",
               absl::StrCat("\"", key, "\" is ", ShownJson(row[key]), "; it must be text"));
}

// A text becomes one message of `role`; a list of messages is taken over.
std::optional<RecordError> AddTurns(ordered_json* row, const char* key, const char* role,
                                    bool train, ordered_json* messages) {
  ordered_json value = *TakeKey(row, key);
  if (value.is_string()) {
    messages->push_back(MakeMessage(role, std::move(value)));
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

// What `from` stands for. A word that is close to a known one is a typing error; any other is left
// to the template.
std::optional<RecordError> FindShareGptRole(const std::string& from, const std::string& where,
                                            ShareGptRole* role) {
  std::vector<std::string> names;
  for (const ShareGptRole& known : kShareGptRoles) {
    *role = known;
    if (from == known.from) return std::nullopt;
    names.emplace_back(known.from);
  }
  *role = {.from = from, .role = from};
  const std::string near = NearestWord(from, names);
  if (!from.empty() && near.empty()) return std::nullopt;
  return Fault("UNKNOWN_ROLE",
               absl::StrCat("unknown role ", ShownJson(ordered_json(from)), " in ", where,
                            near.empty() ? "" : absl::StrCat("; did you mean \"", near, "\"?")));
}

std::optional<RecordError> AddShareGptTurn(ordered_json turn, const std::string& where,
                                           ordered_json* row, ordered_json* messages) {
  if (turn.is_object() && turn.contains("role") && !turn.contains("from")) {
    messages->push_back(std::move(turn));  // the list is named so, its entries are messages
    return std::nullopt;
  }
  if (!turn.is_object() || !turn.contains("from") || !turn["from"].is_string() ||
      !turn.contains("value") || !turn["value"].is_string()) {
    return Fault("BAD_SCHEMA", absl::StrCat(where, " is ", ShownJson(turn),
                                            "; it must be {\"from\": text, \"value\": text}"));
  }
  const std::string from = TakeKey(&turn, "from")->get<std::string>();
  ordered_json value = *TakeKey(&turn, "value");
  ShareGptRole role;
  if (auto fault = FindShareGptRole(from, where, &role)) return fault;
  if (role.kind == TurnKind::kTools) {
    if (row->contains("tools")) {
      return Fault("BAD_SCHEMA",
                   absl::StrCat(where, " and the record both have tools; keep one of them"));
    }
    (*row)["tools"] = std::move(value);
    return std::nullopt;
  }
  ordered_json message = MakeMessage(role.role, "");
  if (role.kind == TurnKind::kCall) {
    if (auto fault = ReadCalls(value, where, &message["tool_calls"])) return fault;
  } else {
    message["content"] = std::move(value);
  }
  // What else the turn has, for example "weight", is left to the template and to the checks.
  message.update(turn);
  messages->push_back(std::move(message));
  return std::nullopt;
}

std::optional<RecordError> FromShareGpt(ordered_json* row, ordered_json* messages) {
  ordered_json turns = *TakeKey(row, "conversations");
  if (!turns.is_array()) {
    return Fault("BAD_SCHEMA", absl::StrCat("\"conversations\" is ", ShownJson(turns),
                                            "; it must be a list of "
                                            "{\"from\": …, \"value\": …}"));
  }
  for (size_t i = 0; i < turns.size(); ++i) {
    auto fault =
        AddShareGptTurn(std::move(turns[i]), absl::StrCat("conversations[", i, "]"), row, messages);
    if (fault) return fault;
  }
  return std::nullopt;
}

std::optional<RecordError> AddHistory(ordered_json* row, ordered_json* messages) {
  std::optional<ordered_json> history = TakeKey(row, "history");
  if (!history) return std::nullopt;
  if (!history->is_array()) {
    return Fault("BAD_SCHEMA", absl::StrCat("\"history\" is ", ShownJson(*history),
                                            "; it must be a list of [question, answer]"));
  }
  for (size_t i = 0; i < history->size(); ++i) {
    ordered_json& pair = (*history)[i];
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string()) {
      return Fault("BAD_SCHEMA", absl::StrCat("history[", i, "] is ", ShownJson(pair),
                                              "; it must be [question, answer]"));
    }
    messages->push_back(MakeMessage("user", std::move(pair[0])));
    messages->push_back(MakeMessage("assistant", std::move(pair[1])));
  }
  return std::nullopt;
}

std::optional<RecordError> FromAlpaca(ordered_json* row, ordered_json* messages) {
  if (auto fault = AddHistory(row, messages)) return fault;
  std::string instruction, input, output;
  if (!TakeText(row, "instruction", &instruction)) return NotText(*row, "instruction");
  if (!TakeText(row, "input", &input)) return NotText(*row, "input");
  if (!TakeText(row, "output", &output)) return NotText(*row, "output");
  if (!input.empty()) absl::StrAppend(&instruction, instruction.empty() ? "" : "\n\n", input);
  messages->push_back(MakeMessage("user", std::move(instruction)));
  messages->push_back(MakeMessage("assistant", std::move(output)));
  return std::nullopt;
}

// The keys that a record of the form needs.
std::vector<const char*> NeededKeys(SourceFormat format) {
  switch (format) {
    case SourceFormat::kMessages:
      return {"messages"};
    case SourceFormat::kPromptCompletion:
      return {"prompt", "completion"};
    case SourceFormat::kShareGpt:
      return {"conversations"};
    case SourceFormat::kAlpaca:
      return {"instruction", "output"};
    case SourceFormat::kText:
      return {"text"};
    case SourceFormat::kPreference:
      return {"chosen", "rejected"};
  }
  return {};
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
    case SourceFormat::kText:
      return "text";
    case SourceFormat::kPreference:
      return "preference";
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
  for (const SourceFormat format :
       {SourceFormat::kMessages, SourceFormat::kPromptCompletion, SourceFormat::kShareGpt,
        SourceFormat::kAlpaca, SourceFormat::kText}) {
    bool has_all = true;
    for (const char* key : NeededKeys(format)) {
      const auto found = row.find(key);
      has_all &= found != row.end() && !found->is_null();
    }
    if (has_all) return format;
  }
  return std::nullopt;
}

ordered_json MakeMessage(std::string_view role, ordered_json content) {
  ordered_json message = ordered_json::object();
  message["role"] = std::string(role);
  message["content"] = std::move(content);
  return message;
}

bool HasTwoAnswers(const ordered_json& row) {
  return row.contains("chosen") && row.contains("rejected");
}

std::optional<RecordError> AddSystem(ordered_json* row, ordered_json* messages) {
  std::string system;
  if (!TakeText(row, "system", &system)) return NotText(*row, "system");
  if (system.empty() || !messages->is_array()) return std::nullopt;
  if (!messages->empty() && messages->front().is_object() &&
      messages->front().value("role", ordered_json()) == "system") {
    if (messages->front().value("content", ordered_json()) == system) return std::nullopt;
    return Fault("BAD_SCHEMA",
                 "the record has \"system\" and begins with another system message; keep one");
  }
  messages->insert(messages->begin(), MakeMessage("system", std::move(system)));
  return std::nullopt;
}

std::optional<RecordError> TakeMessages(SourceFormat format, ordered_json* row,
                                        ordered_json* messages) {
  for (const char* key : NeededKeys(format)) {
    if (!row->contains(key)) return MissingKey(*row, key, format);
  }
  *messages = ordered_json::array();
  std::optional<RecordError> fault;
  switch (format) {
    case SourceFormat::kMessages:
      *messages = *TakeKey(row, "messages");
      break;
    case SourceFormat::kPromptCompletion:
      fault = FromPromptCompletion(row, messages);
      break;
    case SourceFormat::kShareGpt:
      fault = FromShareGpt(row, messages);
      break;
    case SourceFormat::kAlpaca:
      fault = FromAlpaca(row, messages);
      break;
    case SourceFormat::kText:
    case SourceFormat::kPreference:
      break;
  }
  return fault ? fault : AddSystem(row, messages);
}

RecordError MissingKey(const ordered_json& row, const char* key, SourceFormat format) {
  if (HasTwoAnswers(row)) {
    return {.code = "UNEXPECTED_PAIR",
            .message =
                "the record is a pair of answers (\"chosen\", \"rejected\"), which only a job "
                "with preference trains on; add preference: {} to the job file, or take "
                "the record out",
            .fatal = true};
  }
  if (format == SourceFormat::kMessages) {
    return Fault(
        "NO_MESSAGES",
        absl::StrCat("the record has no \"messages\"; it has the keys ", ShownKeys(row),
                     "; a record has messages, or prompt and completion, or conversations, or "
                     "instruction and output, or text"));
  }
  return Fault("NO_MESSAGES",
               absl::StrCat("the record has no \"", key, "\"; it has the keys ", ShownKeys(row),
                            "; the file's first record has the form ", FormatName(format)));
}

std::optional<ordered_json> TakeKey(ordered_json* row, const char* key) {
  const auto found = row->find(key);
  if (found == row->end()) return std::nullopt;
  ordered_json value = std::move(*found);
  row->erase(found);
  return value;
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
