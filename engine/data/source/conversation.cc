// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/conversation.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/data/source/json_convert.h"
#include "engine/data/source/tool_forms.h"
#include "engine/formats/json.h"
#include "proto/base/utf8.h"
#include "proto/contract/config/nearest_word.h"
#include "simdjson.h"

namespace trainerd::engine {
namespace {

using nlohmann::ordered_json;

static_assert(kJsonPadding >= simdjson::SIMDJSON_PADDING);

constexpr std::array<const char*, 4> kRoles = {"system", "user", "assistant", "tool"};

RecordError Fault(std::string code, std::string message, int64_t column = 0) {
  return {.code = std::move(code), .message = std::move(message), .column = column};
}

// A key whose value is null counts as absent.
void EraseNulls(ordered_json* object) {
  for (auto item = object->begin(); item != object->end();) {
    item = item->is_null() ? object->erase(item) : std::next(item);
  }
}

// Keys that say that a part is more than text.
constexpr std::array<const char*, 6> kMediaKeys = {"image",       "image_url", "audio",
                                                   "input_audio", "video",     "video_url"};

// Makes a part, {"type": "text", "text": …} or plain text, one with both keys.
std::optional<RecordError> CheckPart(const std::string& where, ordered_json* part) {
  if (part->is_string()) *part = {{"type", "text"}, {"text", std::move(*part)}};
  if (!part->is_object()) {
    return Fault("BAD_SCHEMA", absl::StrCat(where, " is ", ShownJson(*part),
                                            "; a part is {\"type\": \"text\", \"text\": …}"));
  }
  EraseNulls(part);
  const ordered_json type = part->value("type", ordered_json("text"));
  if (type != "text" && type != "input_text" && type != "output_text") {
    return Fault("BAD_SCHEMA", absl::StrCat(where, " has type ", ShownJson(type),
                                            "; only text parts can be trained"));
  }
  for (const char* key : kMediaKeys) {
    if (!part->contains(key)) continue;
    return Fault("BAD_SCHEMA",
                 absl::StrCat(where, " has \"", key, "\"; only text parts can be trained"));
  }
  const auto text = part->find("text");
  if (text == part->end() || !text->is_string()) {
    return Fault("BAD_SCHEMA", absl::StrCat(where, " has no \"text\" that is a string"));
  }
  (*part)["type"] = "text";
  return std::nullopt;
}

std::optional<RecordError> CheckParts(const std::string& where, ordered_json* content) {
  for (size_t i = 0; i < content->size(); ++i) {
    auto fault = CheckPart(absl::StrCat(where, ".content[", i, "]"), &(*content)[i]);
    if (fault) return fault;
  }
  return std::nullopt;
}

// The usual role of which `name` is a misspelling; "" if it is none. Which other roles there are is
// up to the template: developer, model, ipython, user_2 …
std::string MeantRole(const std::string& name) {
  if (std::find(kRoles.begin(), kRoles.end(), name) != kRoles.end()) return "";
  const bool is_word = std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalpha(static_cast<unsigned char>(c));
  });
  if (!is_word || name == "tools") return "";
  return NearestWord(name, {kRoles.begin(), kRoles.end()});
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
  if (name.empty()) return Fault("BAD_SCHEMA", absl::StrCat(where, ".role is empty"));
  const std::string meant = MeantRole(name);
  if (meant.empty()) return std::nullopt;
  return Fault("UNKNOWN_ROLE",
               absl::StrCat("unknown role ", ShownJson(*role), " in ", where, "; did you mean \"",
                            meant, "\"? Roles are system, user, assistant and tool"));
}

// Whether the message says something without "content".
bool HasOtherContent(const ordered_json& message) {
  const auto calls = message.find("tool_calls");
  if (calls != message.end() && !calls->empty()) return true;
  if (message["role"] != "assistant") return false;
  for (const char* key : {"reasoning_content", "thinking", "reasoning"}) {
    if (message.contains(key)) return true;
  }
  return false;
}

// *have_calls becomes true if the message has calls.
std::optional<RecordError> CheckCalls(const std::string& where, const ordered_json& message,
                                      bool* have_calls) {
  const auto calls = message.find("tool_calls");
  if (calls == message.end()) return std::nullopt;
  *have_calls = true;
  if (calls->is_array()) return std::nullopt;
  return Fault("BAD_SCHEMA",
               absl::StrCat(where, ".tool_calls is ", ShownJson(*calls), "; it must be a list"));
}

std::optional<RecordError> CheckContent(const std::string& where, ordered_json* message) {
  const auto content = message->find("content");
  if (content == message->end()) {
    if (HasOtherContent(*message)) return std::nullopt;
    if ((*message)["role"] == "assistant") {
      (*message)["content"] = "";
      return std::nullopt;
    }
    return Fault("BAD_SCHEMA", absl::StrCat(where,
                                            " has no \"content\"; only an assistant message "
                                            "with tool_calls may omit it"));
  }
  if (content->is_string()) return std::nullopt;
  if (content->is_array()) return CheckParts(where, &*content);
  return Fault("BAD_SCHEMA", absl::StrCat(where, ".content is ", ShownJson(*content),
                                          "; it must be text or a list of text parts"));
}

std::optional<RecordError> CheckSwitches(const std::string& where, const ordered_json& message) {
  const auto weight = message.find("weight");
  if (weight != message.end() && *weight != 0 && *weight != 1) {
    return Fault("BAD_SCHEMA", absl::StrCat(where, ".weight is ", ShownJson(*weight),
                                            "; it is 0 (not trained) or 1"));
  }
  const auto train = message.find("train");
  if (train != message.end() && !train->is_boolean()) {
    return Fault("BAD_SCHEMA",
                 absl::StrCat(where, ".train is ", ShownJson(*train), "; it is true or false"));
  }
  return std::nullopt;
}

std::optional<RecordError> CheckMessages(ordered_json* messages, bool* have_calls) {
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
    EraseNulls(&message);
    if (auto fault = CheckRole(where, message)) return fault;
    if (auto fault = ConvertFunctionCall(where, &message)) return fault;
    if (auto fault = CheckCalls(where, message, have_calls)) return fault;
    if (auto fault = CheckContent(where, &message)) return fault;
    if (auto fault = CheckSwitches(where, message)) return fault;
  }
  return std::nullopt;
}

std::optional<RecordError> TakeVariables(ordered_json* row, ordered_json* variables) {
  std::optional<ordered_json> found = TakeKey(row, "chat_template_kwargs");
  if (!found) return std::nullopt;
  if (!found->is_object()) {
    return Fault("BAD_SCHEMA", absl::StrCat("\"chat_template_kwargs\" is ", ShownJson(*found),
                                            "; it must be an object"));
  }
  *variables = *std::move(found);
  return std::nullopt;
}

std::optional<RecordError> TakePlainText(ordered_json* row, std::optional<std::string>* text) {
  std::optional<ordered_json> found = TakeKey(row, "text");
  if (!found) return MissingKey(*row, "text", SourceFormat::kText);
  if (!found->is_string()) {
    return Fault("BAD_SCHEMA",
                 absl::StrCat("\"text\" is ", ShownJson(*found), "; it must be text"));
  }
  *text = found->get<std::string>();
  return std::nullopt;
}

std::optional<RecordError> TakeConversation(SourceFormat format, ordered_json* row,
                                            Conversation* conversation, bool* have_calls) {
  if (format == SourceFormat::kText) return TakePlainText(row, &conversation->text);
  if (auto fault = TakeMessages(format, row, &conversation->messages)) return fault;
  if (auto fault = CheckMessages(&conversation->messages, have_calls)) return fault;
  if (auto fault = TakeTools(row, &conversation->tools)) return fault;
  return TakeVariables(row, &conversation->variables);
}

// What a line that is not JSON probably is, and what to do; "" if it looks like JSON.
std::string ForeignLineAdvice(std::string_view line) {
  const size_t first = line.find_first_not_of(" \t");
  const size_t last = line.find_last_not_of(" \t\r");
  if (first == std::string_view::npos) return "";
  if (line[first] == '{') {
    if (line[last] == ',') return "; remove the comma at the end of the line";
    const size_t key = line.find_first_not_of(" \t", first + 1);
    if (key != std::string_view::npos && line[key] == '\'')
      return "; it looks like a Python dictionary: write it with json.dumps";
    return "";
  }
  if (line.find_first_of(",\t;") != std::string_view::npos && line[first] != '-') {
    return "; a CSV file is converted for example with: python3 -c \"import csv, json, sys; "
           "[print(json.dumps(r)) for r in csv.DictReader(sys.stdin)]\" < FILE.csv > FILE.jsonl";
  }
  return "; each line must be one JSON object; lines of plain text are converted for example with: "
         "jq -cR '{text: .}' FILE > FILE.jsonl";
}

RecordError SyntaxFault(const JsonSyntaxError& error) {
  if (error.column == 0) {
    return Fault("BAD_JSON",
                 absl::StrCat("the record cannot be read: ", error.message, "; flatten it"));
  }
  return Fault("BAD_JSON", absl::StrCat("the line is not JSON: ", error.message), error.column);
}

// What to do about a record that is not JSON or not UTF-8. Where the error is at the end of an
// unterminated record, the file was cut off: a part of a character is up to 3 bytes.
std::string SyntaxAdvice(const RecordError& fault, std::string_view record, bool unterminated) {
  const bool is_character = fault.code == "BAD_UTF8";
  const int64_t missed = static_cast<int64_t>(record.size()) - fault.column;
  if (unterminated && missed < (is_character ? 3 : 1)) {
    return "; the file ends inside this record, without a newline: it was cut off, copy it again";
  }
  if (is_character) {
    return "; convert the file, for example: iconv -f WINDOWS-1252 -t UTF-8 FILE > FILE.jsonl";
  }
  const std::string foreign = ForeignLineAdvice(record);
  return !foreign.empty() ? foreign
                          : "; correct it, or write the records with a JSON library (in Python: "
                            "json.dumps(record))";
}

}  // namespace

struct ConversationParser::Impl {
  // *row may have odd numbers (engine/formats/json.h) if *has_odd_numbers.
  std::optional<RecordError> ReadRow(std::string_view record, ordered_json* row,
                                     bool* has_odd_numbers);

  simdjson::dom::parser parser;
};

std::optional<RecordError> ConversationParser::Impl::ReadRow(std::string_view record,
                                                             ordered_json* row,
                                                             bool* has_odd_numbers) {
  simdjson::dom::element element;
  const simdjson::error_code error =
      parser.parse(record.data(), record.size(), /*realloc_if_needed=*/false).get(element);
  if (error == simdjson::UTF8_ERROR) {
    const size_t at = FindInvalidUtf8(record);
    return Fault("BAD_UTF8", "the line is not UTF-8",
                 at == std::string_view::npos ? 0 : static_cast<int64_t>(at) + 1);
  }
  *has_odd_numbers = error != simdjson::SUCCESS;
  if (*has_odd_numbers) {
    if (const auto syntax = ReadJsonWithSpelling(record, row)) return SyntaxFault(*syntax);
  } else {
    *row = ToOrderedJson(element);
  }
  if (row->is_object()) {
    EraseNulls(row);
    return std::nullopt;
  }
  return Fault(
      "BAD_SCHEMA",
      row->is_array()
          ? "the line is a JSON list; a JSONL file has one object per line, {\"messages\": "
            "[…]}"
          : "the line is not a JSON object; a record is {\"messages\": […]}");
}

ConversationParser::ConversationParser() : impl_(std::make_unique<Impl>()) {}
ConversationParser::~ConversationParser() = default;

std::optional<RecordError> ConversationParser::Parse(std::string_view record, SourceFormat format,
                                                     Conversation* conversation,
                                                     bool unterminated) {
  ordered_json row;
  bool has_odd_numbers = false;
  if (auto fault = impl_->ReadRow(record, &row, &has_odd_numbers)) {
    if (fault->column > 0) fault->message += SyntaxAdvice(*fault, record, unterminated);
    return fault;
  }
  *conversation = Conversation{};
  bool have_calls = false;
  if (auto fault = TakeConversation(format, &row, conversation, &have_calls)) return fault;
  for (const auto& item : row.items()) conversation->unused_keys.push_back(item.key());
  // Tools and calls can come from JSON text inside the record.
  if (auto fault = RefuseOddNumbers(conversation->tools, "tools")) return fault;
  if (has_odd_numbers || have_calls) {
    if (auto fault = RefuseOddNumbers(conversation->messages, "messages")) return fault;
  }
  return RefuseOddNumbers(conversation->variables, "chat_template_kwargs");
}

std::optional<SourceFormat> ConversationParser::Detect(std::string_view record) {
  ordered_json row;
  bool has_odd_numbers = false;
  if (impl_->ReadRow(record, &row, &has_odd_numbers)) return std::nullopt;
  return DetectFormat(row);
}

}  // namespace trainerd::engine
