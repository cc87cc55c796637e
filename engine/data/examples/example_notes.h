// SPDX-License-Identifier: Apache-2.0
// What is odd about a conversation that can be trained all the same. Each is counted as a finding
// and changes nothing.
#pragma once

#include "engine/text/chat_template.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine {

struct RowNotes {
  bool no_assistant = false;  // no assistant message at all
  bool empty_answer = false;  // an assistant message to be trained says nothing
  bool answer_in_question =
      false;  // a trained answer of 30 bytes or more stands word for word in an earlier message
  bool bad_encoding = false;  // U+FFFD, a NUL, or UTF-8 that was once read as Latin-1 ("Ã©", "â€™")
  bool doubled_end =
      false;  // an answer carries the end-of-turn text that the template writes again
  bool control_tokens = false;       // text of a message became control tokens
  int32_t first_control_token = -1;  // the first of them, and the message that it stands in
  int first_control_message = -1;
  bool lost_bytes = false;  // bytes that the vocabulary cannot spell are gone
};

// Fills in what the messages alone tell: the first four.
void NoteMessages(const nlohmann::ordered_json& messages, RowNotes* notes);

// Fills in what the tokens tell: the last three. `encoding` is that of rendered.text.
void NoteTokens(const nlohmann::ordered_json& messages, const RenderedConversation& rendered,
                const Encoding& encoding, const Tokenizer& tokenizer, RowNotes* notes);

// Whether `text` shows signs of a wrong encoding (bad_encoding above).
bool HasEncodingFault(std::string_view text);

}  // namespace trainerd::engine
