// SPDX-License-Identifier: Apache-2.0
// A preference record → a pair of examples, with the tokens and the mask of TRL's DPOTrainer
// (trl/trainer/dpo_trainer.py, tokenize_fn; trl/data_utils.py, common_prefix_length).
//
// Conversations go through the chat template three times: the prompt with the generation prompt,
// and the prompt with each answer. An example is the whole of the latter. Its targets begin where
// the tokens of the prompt and those of one of the two conversations differ first, the same place
// in both examples, and reach to the end: behind the end-of-turn token the template may write a
// newline, which counts too. Texts: the prompt as it is, and the prompt joined with each answer and
// the EOS token, if the answer does not end with it; each with the special tokens that the
// tokenizer itself adds.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "engine/data/examples/rendering.h"
#include "engine/data/examples/token_row.h"
#include "engine/data/source/conversation.h"
#include "engine/data/source/text_pipeline.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// Thread-safety: const methods may be called from many threads.
class PairTokenizer {
 public:
  // `text` must outlive the tokenizer.
  PairTokenizer(const v1::DataConfig& config, const TextPipeline& text,
                ControlTokens control_tokens)
      : config_(config), text_(text), control_tokens_(control_tokens) {}

  // Fills in both examples of *row, its notes, text_hash and left_out. *record, which has a pair,
  // is used up. An answer longer than data.max_length is cut at its end; data.too_long: skip and
  // fail apply if one of the two is longer.
  std::optional<RecordError> Tokenize(Conversation* record, bool keep_text, TokenRow* row) const;

 private:
  // One of the two conversations or texts.
  struct Side;
  std::optional<RecordError> EncodeTexts(const std::string& prompt, Side* chosen, Side* rejected,
                                         Encoding* prompt_tokens) const;
  std::optional<RecordError> EncodeText(Side* side) const;
  std::optional<RecordError> EncodeMessages(Side* chosen, Side* rejected,
                                            Encoding* prompt_tokens) const;
  std::optional<RecordError> RenderSide(const RenderOptions& options, Side* side) const;
  // The notes that depend on what is trained.
  std::optional<RecordError> CheckSide(size_t prompt_tokens, Side* side) const;
  std::optional<RecordError> LabelSide(size_t prompt_tokens, const Side& side, LeftOut* left_out,
                                       TokenizedText* result) const;

  const v1::DataConfig config_;
  const TextPipeline& text_;
  const ControlTokens control_tokens_;
};

}  // namespace trainerd::engine
