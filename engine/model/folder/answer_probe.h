// SPDX-License-Identifier: Apache-2.0
// What a chat template makes of a question and an answer: which text is the answer, and
// the token that ends the turn. Known before any record is read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer/tokenizer.h"

namespace trainerd::engine {

struct AnswerProbe {
  // The error of TargetSpans if the template does not show which text is the answer. OK if the
  // template refuses the probe, because the records may be what it expects.
  absl::Status answer_found;
  // The special token at the end of the answer; nullopt if there is none, or the template refuses
  // the probe.
  std::optional<int32_t> end_of_turn;
  // The tokens of the question and the answer; empty if the template refuses the probe.
  std::vector<int32_t> ids;
};

// `now`: RenderOptions::now.
AnswerProbe ProbeAnswer(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                        const std::string& now);

}  // namespace trainerd::engine
