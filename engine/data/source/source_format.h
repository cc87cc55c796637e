// SPDX-License-Identifier: Apache-2.0
// The forms of rows that data files come in, and how each becomes a list of messages. Which one a
// file has is decided by its first row and holds for the whole file.
//
//   messages           {"messages": [{"role", "content"}, …]}
//   prompt_completion  {"prompt", "completion"}: texts (a question and its answer), or lists of
//                      messages; answers inside the prompt are not trained
//   sharegpt           {"conversations": [{"from": human | gpt | system | tool …, "value"}, …]},
//                      optionally "system"
//   alpaca             {"instruction", "input", "output"}: question = instruction, a blank line,
//                      input if there is one; optionally "system"
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/data/source/record_error.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine {

enum class SourceFormat { kMessages, kPromptCompletion, kShareGpt, kAlpaca };

// As in DataReport.format.
const char* FormatName(SourceFormat format);

// The form of each file, by path.
using FileFormats = std::vector<std::pair<std::string, SourceFormat>>;
// One word when all files have one form, else a list by file.
std::string FormatsText(const FileFormats& formats);

// By the keys of a row; nullopt when they fit none.
std::optional<SourceFormat> DetectFormat(const nlohmann::ordered_json& row);

// Takes the messages out of `row`. They still have to be checked (example.cc).
std::optional<RecordError> TakeMessages(SourceFormat format, nlohmann::ordered_json* row,
                                        nlohmann::ordered_json* messages);

// A value, or the keys of an object, as a short piece of text for a message.
std::string ShownJson(const nlohmann::ordered_json& value);
std::string ShownKeys(const nlohmann::ordered_json& object);

}  // namespace trainerd::engine
