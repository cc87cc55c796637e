// SPDX-License-Identifier: Apache-2.0
#include "engine/data/source/sample_prompts.h"

#include <cstdint>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "engine/formats/json.h"
#include "proto/base/atomic_file.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_violation.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kExpectedForm[] = "{\"messages\": […]} or {\"prompt\": \"…\", \"expected\": \"…\"}";
// Every prompt is answered token by token, so a file of training data is not meant.
constexpr size_t kMaxFileBytes = 16 << 20;

bool IsText(const Json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_string();
}

absl::StatusOr<SamplePrompt> ParseConversation(const Json& messages) {
  SamplePrompt prompt;
  prompt.messages = Json::array();
  if (!messages.is_array()) return absl::InvalidArgumentError("\"messages\" is not a list");
  for (const Json& message : messages) {
    if (!IsText(message, "role") || !IsText(message, "content")) {
      return absl::InvalidArgumentError("a message has no \"role\" or no \"content\" of type text");
    }
    if (message["role"] == "assistant") {
      prompt.expected = message["content"].get<std::string>();
      break;
    }
    if (message["role"] == "user") prompt.question = message["content"].get<std::string>();
    prompt.messages.push_back(message);
  }
  if (prompt.messages.empty())
    return absl::InvalidArgumentError("no message before the first assistant message");
  return prompt;
}

// How to rewrite a record of another form.
std::string FormAdvice(const Json& record) {
  if (record.contains("prompt"))
    return "its \"prompt\" is not text: write a list of messages as \"messages\"";
  if (record.contains("conversations"))
    return "it has the ShareGPT form: write \"conversations\" as \"messages\" with \"role\" and "
           "\"content\"";
  if (record.contains("instruction"))
    return "it has the Alpaca form: write instruction and input as \"prompt\", output as "
           "\"expected\"";
  std::vector<std::string> keys;
  for (const auto& [key, value] : record.items()) keys.push_back(Quoted(key));
  constexpr size_t kMaxKeys = 8;
  if (keys.size() > kMaxKeys) keys.resize(kMaxKeys);
  return keys.empty() ? "it has no keys"
                      : absl::StrCat("it has the keys ", absl::StrJoin(keys, ", "));
}

absl::StatusOr<SamplePrompt> ParsePrompt(const std::string& line) {
  const Json record = ParseOrderedJson(line).value_or(Json());
  if (!record.is_object())
    return absl::InvalidArgumentError(absl::StrCat("not a JSON object; write ", kExpectedForm));
  if (record.contains("messages")) return ParseConversation(record["messages"]);
  if (!IsText(record, "prompt")) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected ", kExpectedForm, " for samples.prompts; ", FormAdvice(record)));
  }
  SamplePrompt prompt;
  prompt.question = record["prompt"].get<std::string>();
  prompt.messages = Json::array({{{"role", "user"}, {"content", prompt.question}}});
  if (record.contains("expected")) {
    if (!record["expected"].is_string())
      return absl::InvalidArgumentError("\"expected\" is not text");
    prompt.expected = record["expected"].get<std::string>();
  }
  return prompt;
}

}  // namespace

absl::StatusOr<std::vector<SamplePrompt>> ReadSamplePrompts(const std::string& path,
                                                            const std::string& system_prompt) {
  std::error_code error;
  if (const auto bytes = std::filesystem::file_size(path, error); !error && bytes > kMaxFileBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has ", FormatBytes(static_cast<int64_t>(bytes)), ", more than ",
                     FormatBytes(kMaxFileBytes), "; samples.prompts needs a few prompts only"));
  }
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  std::vector<SamplePrompt> prompts;
  int64_t line_number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++line_number;
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    absl::StatusOr<SamplePrompt> prompt = ParsePrompt(std::string(line));
    if (!prompt.ok()) return Annotate(prompt.status(), path, ":", line_number);
    if (!system_prompt.empty() && prompt->messages[0]["role"] != "system") {
      prompt->messages.insert(prompt->messages.begin(),
                              Json{{"role", "system"}, {"content", system_prompt}});
    }
    prompts.push_back(*std::move(prompt));
  }
  if (prompts.empty())
    return absl::InvalidArgumentError(
        absl::StrCat(path, " contains no prompt; add one or remove samples.prompts"));
  return prompts;
}

}  // namespace trainerd::engine
