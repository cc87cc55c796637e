// SPDX-License-Identifier: Apache-2.0
// One line of a chat file → one conversation, checked: message list, roles, content types. What the
// line holds besides is ignored.
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
  nlohmann::ordered_json tools;  // null = none
  nlohmann::ordered_json
      variables;  // chat_template_kwargs of the row: further template variables; null = none
};

// Reads JSON lines into conversations. Keeps its buffers between calls. Thread-safety: one owner at
// a time.
class ConversationParser {
 public:
  ConversationParser();
  ~ConversationParser();
  ConversationParser(const ConversationParser&) = delete;
  ConversationParser& operator=(const ConversationParser&) = delete;

  // `line` must be followed by kJsonPadding readable bytes. *conversation is usable only when
  // nullopt comes back.
  std::optional<RecordError> Parse(std::string_view line, SourceFormat format,
                                   Conversation* conversation);

  // The form of a row; nullopt when the line does not parse or fits none. The same padding.
  std::optional<SourceFormat> Detect(std::string_view line);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Bytes after a line that the JSON parser may read (and never uses).
inline constexpr size_t kJsonPadding = 64;

}  // namespace trainerd::engine
