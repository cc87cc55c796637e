// SPDX-License-Identifier: Apache-2.0
// One record → one conversation, checked: message list, roles, content types. The keys that were
// not read are listed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/data/source/record_error.h"
#include "engine/data/source/source_format.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine {

// The rejected answer of a pair, and where both answers begin.
struct RejectedAnswer {
  // The prompt with the rejected answer, as Conversation::messages or text has it with the chosen
  // one.
  nlohmann::ordered_json messages;
  std::string text;
  // Messages of the prompt, or bytes of its text.
  size_t prompt_size = 0;
  // The record has no "prompt": it is what "chosen" and "rejected" begin with.
  bool implicit_prompt = false;
  // System messages that were put in front of those of the record.
  size_t added_messages = 0;
};

// A conversation as the chat template reads it. A key whose value is null counts as absent, in the
// record and in each message, as in transformers 5; values inside of tools, calls and arguments
// keep their nulls.
struct Conversation {
  // Array of objects with "role", any text, and "content": text, or a list of parts
  // {"type": "text", "text": …}. An assistant message with tool_calls or reasoning may omit
  // "content". OpenAI's "function_call" has become "tool_calls".
  nlohmann::ordered_json messages;
  // null = none.
  nlohmann::ordered_json tools;
  // chat_template_kwargs of the record: further template variables; null = none.
  nlohmann::ordered_json variables;
  // Plain text without a template ({"text": …}); `messages` is empty then.
  std::optional<std::string> text;
  // A preference record: `messages` or `text` is the prompt with the chosen answer.
  std::optional<RejectedAnswer> pair;
  // Keys of the record that were not read.
  std::vector<std::string> unused_keys;
};

// Reads JSON records into conversations. Keeps its buffers between calls. Not thread-safe.
class ConversationParser {
 public:
  ConversationParser();
  ~ConversationParser();
  ConversationParser(const ConversationParser&) = delete;
  ConversationParser& operator=(const ConversationParser&) = delete;

  // `record` must be followed by kJsonPadding readable bytes; `unterminated`: its file ends after
  // it, without a newline. *conversation is valid only if the result is nullopt.
  std::optional<RecordError> Parse(std::string_view record, SourceFormat format,
                                   Conversation* conversation, bool unterminated = false);

  // The form of a record; nullopt if it does not parse or has no known form. The same padding.
  std::optional<SourceFormat> Detect(std::string_view record);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Bytes after a line that the JSON parser may read but never uses.
inline constexpr size_t kJsonPadding = 64;

}  // namespace trainerd::engine
