// SPDX-License-Identifier: Apache-2.0
// The forms of records in data files, and how each becomes a list of messages. The first record
// decides the form of its whole file.
//
//   messages           {"messages": [{"role", "content"}, …]}
//   prompt_completion  {"prompt", "completion"}: texts (a question and its answer), or lists of
//                      messages; answers inside the prompt are not trained
//   sharegpt           {"conversations": [{"from": human | gpt | system | tool …, "value"}, …]}
//   alpaca             {"instruction", "input", "output"}: question = instruction, a blank line,
//                      input if there is one; optionally "history": [[question, answer], …] before
//   text               {"text"}: plain text without a template
//   preference         {"prompt", "chosen", "rejected"} (preference_pair.h)
//
// A job with `preference` reads every record as a preference record; other jobs refuse them.
// All forms but text may have "system": a system message in front of the others.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/data/source/record_error.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine {

enum class SourceFormat { kMessages, kPromptCompletion, kShareGpt, kAlpaca, kText, kPreference };

// As in DataReport.format.
const char* FormatName(SourceFormat format);

// The form of each file, by path.
using FileFormats = std::vector<std::pair<std::string, SourceFormat>>;
// One word if all files have one form, else a list by file.
std::string FormatsText(const FileFormats& formats);

// By the keys of a record; nullopt if they match no form. Never kPreference: the job says so.
std::optional<SourceFormat> DetectFormat(const nlohmann::ordered_json& row);

// Moves the messages out of `row`, and erases the keys that were read. The messages are not checked
// here (conversation.cc checks them). `format` is neither kText nor kPreference.
std::optional<RecordError> TakeMessages(SourceFormat format, nlohmann::ordered_json* row,
                                        nlohmann::ordered_json* messages);

// Puts the system message of the key "system" in front of the messages.
std::optional<RecordError> AddSystem(nlohmann::ordered_json* row, nlohmann::ordered_json* messages);

// A message with text, or with a list of parts.
nlohmann::ordered_json MakeMessage(std::string_view role, nlohmann::ordered_json content);

// Whether the record has the keys of two answers.
bool HasTwoAnswers(const nlohmann::ordered_json& row);

// The record lacks `key`, which its form needs.
RecordError MissingKey(const nlohmann::ordered_json& row, const char* key, SourceFormat format);

// Moves the value of `key` out of `row` and erases the key; nullopt if the row has no such key.
std::optional<nlohmann::ordered_json> TakeKey(nlohmann::ordered_json* row, const char* key);

// The keys of an object as short text for a message.
std::string ShownKeys(const nlohmann::ordered_json& object);

}  // namespace trainerd::engine
