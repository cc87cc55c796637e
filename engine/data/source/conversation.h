// SPDX-License-Identifier: Apache-2.0
// One line of a chat file → one conversation, checked: message list, roles, content types. Other
// keys of the record are ignored.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "engine/data/source/record_error.h"
#include "engine/data/source/source_format.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine {

// A conversation as the chat template reads it.
// messages: array of objects with "role" (system, user, assistant or tool) and "content": a string,
// or null beside tool_calls. Content given as a list of text parts has been joined to one string.
struct Conversation {
  nlohmann::ordered_json messages;
  // null = none.
  nlohmann::ordered_json tools;
  // chat_template_kwargs of the record: further template variables; null = none.
  nlohmann::ordered_json variables;
};

// Reads JSON lines into conversations. Keeps its buffers between calls. Not thread-safe.
class ConversationParser {
 public:
  ConversationParser();
  ~ConversationParser();
  ConversationParser(const ConversationParser&) = delete;
  ConversationParser& operator=(const ConversationParser&) = delete;

  // `line` must be followed by kJsonPadding readable bytes. *conversation is valid only if the
  // result is nullopt.
  std::optional<RecordError> Parse(std::string_view line, SourceFormat format,
                                   Conversation* conversation);

  // The form of a record; nullopt if the line does not parse or has no known form. The same
  // padding.
  std::optional<SourceFormat> Detect(std::string_view line);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Bytes after a line that the JSON parser may read but never uses.
inline constexpr size_t kJsonPadding = 64;

}  // namespace trainerd::engine
