// SPDX-License-Identifier: Apache-2.0
// Records of preference tuning, in the forms that TRL's DPOTrainer accepts (trl/data_utils.py,
// extract_prompt and is_conversational):
//
//   texts           {"prompt": text, "chosen": text, "rejected": text}: plain text without a
//                   template; an answer is joined to the prompt as it is
//   messages        the same keys with lists of messages
//   without prompt  "chosen" and "rejected" begin with the same messages (or the same text), which
//                   are the prompt
//
// If one of the three is a list, a text beside it becomes a message: the prompt one of the user,
// an answer one of the assistant. A prompt that is text beside two whole conversations must be one
// of the messages that they begin with.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "engine/data/source/conversation.h"
#include "engine/data/source/record_error.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine {

// Moves the prompt and the answers out of `row`, checks them, and erases the keys that were read.
// Fills in messages or text, and pair. *have_calls becomes true if a message has calls.
std::optional<RecordError> TakePair(nlohmann::ordered_json* row, Conversation* conversation,
                                    bool* have_calls);

// Puts the message that was added in front of the chosen conversation, which had `before` messages,
// in front of the rejected one, too. Does nothing if none was added.
void RepeatAddedMessage(size_t before, Conversation* conversation);

// What message `index` of the chosen (or rejected) conversation is called in the record: prompt[0],
// chosen[1] …
std::string PairMessageName(const RejectedAnswer& pair, const char* answer, size_t index);

}  // namespace trainerd::engine
