// SPDX-License-Identifier: Apache-2.0
// A conversation → rendered text → tokens, and what can be wrong with it on the way. The steps that
// single conversations and pairs of answers share.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/data/examples/token_row.h"
#include "engine/data/source/record_error.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// What becomes of control tokens that a message's text spells (data.control_tokens).
enum class ControlTokens { kWarn, kError, kAsText };

// What message `index` is called in the record.
using MessageName = std::function<std::string(size_t index)>;
// "messages[INDEX]".
std::string MessageInList(size_t index);

// Renders `messages`. A role that the template prints like the assistant's becomes "assistant"; one
// of which it prints nothing is an error (UNKNOWN_ROLE, TEMPLATE_ERROR).
std::optional<RecordError> RenderConversation(const ChatTemplate& chat_template,
                                              const RenderOptions& options, const MessageName& name,
                                              nlohmann::ordered_json* messages,
                                              RenderedConversation* rendered);

// The tokens of the text. Under kAsText the bytes of the messages' fields stay text.
std::optional<RecordError> EncodeRendered(const Tokenizer& tokenizer,
                                          const RenderedConversation& rendered,
                                          ControlTokens control_tokens, bool add_special_tokens,
                                          Encoding* encoding);

// Replaces *content with the bytes that came from the messages' fields, adjacent spans joined: the
// bytes that stay text under kAsText (Tokenizer::EncodeWithPlainText).
void FindContent(const RenderedConversation& rendered, std::vector<TextSpan>* content);

// What data.too_long makes of a text longer than data.max_length. `what`: "the conversation has".
std::optional<RecordError> ApplyTooLong(const v1::DataConfig& config, const std::string& what,
                                        int64_t num_tokens, LeftOut* left_out);

// `where`: the message that holds the control token.
RecordError ControlTokenFault(const std::string& where, const RowNotes& notes,
                              const Tokenizer& tokenizer);
// `message`: an object, or a text.
RecordError EmptyAnswerFault(const std::string& where, const nlohmann::ordered_json& message);
// `what` ends with the EOS token, and the model folder names none.
RecordError NoEosToken(const std::string& what);
RecordError StatusFault(std::string code, const absl::Status& status);

uint64_t HashText(const std::string& text);

}  // namespace trainerd::engine
