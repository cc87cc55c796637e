// SPDX-License-Identifier: Apache-2.0
// Answers of the model: conversation → token ids through the chat template → greedy answer → text.
// Used for the samples of a running job and by `trainerd-worker sample`.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/decoder.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"

namespace trainerd::engine {

struct PromptOptions {
  std::string now;  // RenderOptions::now
  // Control tokens spelled out in a message remain text (data.control_tokens: as_text).
  bool control_tokens_as_text = false;
};

class SampleGenerator {
 public:
  // Tokenizer and template must outlive it. An answer ends at the tokenizer's end token, at the
  // eos_token_id of the model folder's generation_config.json or config.json, and at the token that
  // ends an assistant turn of the template.
  static absl::StatusOr<std::unique_ptr<SampleGenerator>> Create(const std::string& model_folder,
                                                                 const Tokenizer& tokenizer,
                                                                 const ChatTemplate& chat_template,
                                                                 PromptOptions options);

  // Ids of the conversation followed by the header of the answer, as in a training example with the
  // same settings.
  absl::StatusOr<std::vector<int32_t>> ConversationIds(
      const nlohmann::ordered_json& messages) const;
  // Ids of plain text, with the tokens that the tokenizer's post-processor adds.
  absl::StatusOr<std::vector<int32_t>> TextIds(const std::string& text) const;

  struct AnswerOptions {
    int64_t max_tokens = 64;
    std::function<bool()> cancelled;
  };
  // Greedy answer without special tokens. Errors: those of GenerateGreedy.
  absl::StatusOr<std::string> Answer(Decoder& decoder, const std::vector<int32_t>& ids,
                                     const AnswerOptions& options) const;

  const std::vector<int32_t>& stop_ids() const { return stop_ids_; }

 private:
  SampleGenerator(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                  PromptOptions options)
      : tokenizer_(tokenizer), chat_template_(chat_template), options_(std::move(options)) {}

  const Tokenizer& tokenizer_;
  const ChatTemplate& chat_template_;
  const PromptOptions options_;
  std::vector<int32_t> stop_ids_;
};

}  // namespace trainerd::engine
