// SPDX-License-Identifier: Apache-2.0
// Oddities of a conversation that can be trained nevertheless. Each is counted as a finding and
// changes nothing.
#pragma once

#include <string>
#include <vector>

#include "engine/data/source/conversation.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine {

struct RowNotes {
  // No assistant message at all.
  bool no_assistant = false;
  // The first assistant message that is trained although the template rendered no text of it; -1 =
  // none.
  int empty_answer = -1;
  // A trained answer of 30 bytes or more occurs word for word in an earlier message.
  bool answer_in_question = false;
  // U+FFFD, a NUL, or UTF-8 that was read as Latin-1 ("Ã©", "â€™").
  bool bad_encoding = false;
  // An answer contains the end-of-turn text that the template writes again.
  bool doubled_end = false;
  // Text of a message became control tokens; the first of them, and its message.
  bool control_tokens = false;
  int32_t first_control_token = -1;
  int first_control_message = -1;
  // Bytes that the vocabulary cannot spell were dropped.
  bool lost_bytes = false;
  // Fields of a message that were given and of which the template rendered no byte, each once, and
  // "tools" and "chat_template_kwargs.NAME" of the record.
  std::vector<std::string> unrendered;
  // Arguments of a tool call are JSON text that the template's tojson quoted once more.
  bool quoted_arguments = false;
  // The end of a pair's prompt, with the generation prompt, that is tokenized otherwise, or not
  // rendered, where an answer follows; "" = none.
  std::string differing_prompt;
  // Both answers of a pair are the same tokens, within data.max_length.
  bool equal_answers = false;
};

// Fills in what depends on the messages alone: no_assistant, answer_in_question, bad_encoding.
void NoteMessages(const nlohmann::ordered_json& messages, RowNotes* notes);

// Fills in empty_answer. `targets`: the bytes that are trained, in order.
void NoteAnswers(const nlohmann::ordered_json& messages, const RenderedConversation& rendered,
                 const std::vector<TextSpan>& targets, RowNotes* notes);

// Fills in what depends on the template: the last two. `options` must be those of the rendering.
// Not reported, because templates need not print them: tool_call_id, our own weight and train, the
// name of a tool message whose call says it, and a switch (a number, true, false, or another text
// than those of the usual fields) that the template mentions.
void NoteFields(const Conversation& conversation, const ChatTemplate& chat_template,
                const RenderOptions& options, const RenderedConversation& rendered,
                RowNotes* notes);

// Fills in what depends on the tokens: the rest. `encoding` is that of rendered.text.
void NoteTokens(const nlohmann::ordered_json& messages, const RenderedConversation& rendered,
                const Encoding& encoding, const Tokenizer& tokenizer, RowNotes* notes);

// Whether `text` shows signs of a wrong encoding (bad_encoding above).
bool HasEncodingFault(std::string_view text);

}  // namespace trainerd::engine
