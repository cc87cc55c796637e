// SPDX-License-Identifier: Apache-2.0
// One record → one example: parse → profile → template → tokenize → target spans → labels. A record
// of the form text needs neither profile nor template. With `preference` a record becomes a pair of
// examples (pair_tokenizer.h). preview, validate and training all use this code; nothing else makes
// labels.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/data/examples/pair_tokenizer.h"
#include "engine/data/examples/rendering.h"
#include "engine/data/examples/token_row.h"
#include "engine/data/profiles/profile.h"
#include "engine/data/source/conversation.h"
#include "engine/data/source/jsonl_reader.h"
#include "engine/data/source/text_pipeline.h"
#include "engine/text/target_spans.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

// Thread-safety: const methods may be called from many threads, each with its own Scratch.
class ExamplePipeline {
 public:
  // Buffers that one thread reuses.
  struct Scratch {
    ConversationParser parser;
    Encoding encoding;
  };

  // `text` must outlive the pipeline. Errors: InvalidArgument for settings that cannot work with
  // this template.
  static absl::StatusOr<std::unique_ptr<ExamplePipeline>> Create(const v1::JobConfig& config,
                                                                 const TextPipeline& text);

  struct RowOptions {
    int64_t index = 0;  // 0-based position of the row in its set
    SourceFormat format = SourceFormat::kMessages;
    bool keep_text = false;  // TokenRow::text is filled in
  };
  TokenRow Process(const JsonlLine& line, const RowOptions& options, Scratch* scratch) const;

  // The form of all records, if the job decides it; nullopt: the first record of each file does.
  std::optional<SourceFormat> fixed_format() const;

 private:
  // Settings of `config`, checked.
  struct Choices {
    TrainOn train_on;
    ControlTokens control_tokens;
  };
  ExamplePipeline(const v1::JobConfig& config, const TextPipeline& text, const Choices& choices,
                  std::unique_ptr<Profile> profile);
  // The system prompt, in front of both answers of a pair.
  void AddSystemPrompt(Conversation* conversation) const;
  // What a conversation trains on: its text and the bytes that are targets.
  struct TrainingText {
    RenderedConversation rendered;
    std::vector<TextSpan> targets;
    std::vector<WeightedSpan> weights;
  };
  std::optional<RecordError> Tokenize(Conversation& conversation, bool keep_text, Scratch* scratch,
                                      TokenRow* row) const;
  // Through the chat template. Roles may change (ReadRoles).
  std::optional<RecordError> RenderMessages(Conversation& conversation, Scratch* scratch,
                                            TrainingText* text, RowNotes* notes) const;
  // Plain text and the EOS token, as TRL makes them (trl/trainer/sft_trainer.py: the EOS token is
  // added if the text does not end with it); all of it is trained but the first token.
  std::optional<RecordError> TakeText(const std::string& text, Scratch* scratch,
                                      TrainingText* result, RowNotes* notes) const;
  std::optional<RecordError> EncodeText(const TrainingText& text, Scratch* scratch) const;
  // Cuts at data.max_length and makes the labels.
  std::optional<RecordError> LabelRow(const TrainingText& text, const Encoding& encoding,
                                      TokenRow* row) const;

  const v1::DataConfig config_;
  const TextPipeline& text_;
  const Choices choices_;
  const std::unique_ptr<Profile> profile_;
  const PairTokenizer pairs_;
  const bool reads_pairs_;
  // The tokenizer itself puts its BOS token in front of a text.
  bool text_starts_with_bos_ = false;
};

}  // namespace trainerd::engine
