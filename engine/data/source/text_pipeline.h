// SPDX-License-Identifier: Apache-2.0
// What turns a conversation into tokens: the tokenizer and the chat template that the job uses.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

struct TextPipeline {
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<ChatTemplate> chat_template;
};

// Whether the first record of each file, if it can be read, is plain text, which uses no template.
bool HasOnlyPlainText(const v1::DataConfig& data);

// The template that `data.chat_template` selects. Built-in ChatML ends a turn with the tokenizer's
// end token if the tokenizer has no <|im_end|>. Errors: as OpenTextPipeline.
absl::StatusOr<std::unique_ptr<ChatTemplate>> OpenChatTemplate(const v1::JobConfig& config,
                                                               const Tokenizer& tokenizer);

// Loads the tokenizer of `model.path` and the template that `data.chat_template` selects.
// Errors: those of reading the files; InvalidArgument if the model folder has no chat template, the
// template does not parse, or ChatML has no token that ends a turn.
absl::StatusOr<TextPipeline> OpenTextPipeline(const v1::JobConfig& config);

}  // namespace trainerd::engine
