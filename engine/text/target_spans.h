// SPDX-License-Identifier: Apache-2.0
// Which bytes of a rendered conversation are trained on. The answer comes from what the template
// interpreter recorded while it wrote (chat_template.h), so content that contains marker strings
// changes nothing. Tokens map to spans by overlap: a token is a target if it overlaps a span.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine {

// The conventions of the job file's `data.train_on`.
enum class TrainOn {
  // Every assistant message, from after its header through its end-of-turn token.
  kAssistant,
  // The same for the last assistant message only.
  kLastAssistant,
  // The template's own {% generation %} marks.
  kTemplate,
  // Every byte.
  kAll,
};

// Spans to train, in order, without overlap. A message with `weight: 0` or `train: false` is
// skipped under each convention except kAll, which omits the bytes of that message.
//
// kAssistant and kLastAssistant: the text that the template wrote for an assistant message, from
// after its header (= what add_generation_prompt would have written) through the first special
// token that the template itself wrote after the message's last content byte. Literals after that
// ("\n") are not trained. Reasoning and tool calls of the message count as its content.
//
// `options` must be those of the rendering.
// Errors: InvalidArgument if the region of an assistant message cannot be determined, or if
// kTemplate is requested and the template has no marks; the message names the key to set.
absl::StatusOr<std::vector<TextSpan>> TargetSpans(const ChatTemplate& chat_template,
                                                  const RenderedConversation& rendered,
                                                  const nlohmann::ordered_json& messages,
                                                  const RenderOptions& options,
                                                  const Tokenizer& tokenizer, TrainOn train_on);

// Bytes of messages with a `weight` other than 0 and 1, in order, without overlap.
struct WeightedSpan {
  uint32_t begin = 0;
  uint32_t end = 0;
  float weight = 1.0f;
};
std::vector<WeightedSpan> MessageWeights(const RenderedConversation& rendered,
                                         const nlohmann::ordered_json& messages);

}  // namespace trainerd::engine
