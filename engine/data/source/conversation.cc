// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/conversation.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/data/source/json_convert.h"
#include "engine/data/source/message_checks.h"
#include "engine/data/source/preference_pair.h"
#include "engine/data/source/tool_forms.h"
#include "engine/formats/json.h"
#include "proto/base/utf8.h"
#include "simdjson.h"

namespace trainerd::engine {
namespace {

using nlohmann::ordered_json;

static_assert(kJsonPadding >= simdjson::SIMDJSON_PADDING);

RecordError Fault(std::string code, std::string message, int64_t column = 0) {
  return {.code = std::move(code), .message = std::move(message), .column = column};
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
  if (format == SourceFormat::kPreference) {
    if (auto fault = TakePair(row, conversation, have_calls)) return fault;
    if (conversation->text) return std::nullopt;
    if (auto fault = TakeTools(row, &conversation->tools)) return fault;
    return TakeVariables(row, &conversation->variables);
  }
  if (auto fault = TakeMessages(format, row, &conversation->messages)) return fault;
  if (auto fault = CheckMessages("messages", &conversation->messages, have_calls)) return fault;
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
    const bool is_pair = conversation->pair.has_value();
    if (auto fault = RefuseOddNumbers(conversation->messages, is_pair ? "chosen" : "messages")) {
      return fault;
    }
    if (is_pair) {
      if (auto fault = RefuseOddNumbers(conversation->pair->messages, "rejected")) return fault;
    }
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
