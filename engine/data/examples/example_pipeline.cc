// SPDX-License-Identifier: Apache-2.0
#include "engine/data/examples/example_pipeline.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/data/examples/labels.h"
#include "proto/base/enum_sentinels.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"

#pragma GCC diagnostic error "-Wswitch"

namespace trainerd::engine {
namespace {

absl::Status Unresolved(const char* key, int value) {
  return absl::InternalError(
      absl::StrCat(key, " has the value ", value, ", which this version does not know"));
}

absl::StatusOr<TrainOn> TargetConvention(v1::DataConfig::TrainOn train_on) {
  switch (train_on) {
    case v1::DataConfig::TRAIN_ON_ASSISTANT:
      return TrainOn::kAssistant;
    case v1::DataConfig::TRAIN_ON_LAST_ASSISTANT:
      return TrainOn::kLastAssistant;
    case v1::DataConfig::TRAIN_ON_TEMPLATE:
      return TrainOn::kTemplate;
    case v1::DataConfig::TRAIN_ON_ALL:
      return TrainOn::kAll;
    case v1::DataConfig::TRAIN_ON_UNSPECIFIED:
    case kMinSentinel<v1::DataConfig::TrainOn>:
    case kMaxSentinel<v1::DataConfig::TrainOn>:
      break;
  }
  return Unresolved("data.train_on", train_on);
}

absl::StatusOr<ControlTokens> ControlTokenRule(v1::DataConfig::ControlTokens control_tokens) {
  switch (control_tokens) {
    case v1::DataConfig::CONTROL_TOKENS_WARN:
      return ControlTokens::kWarn;
    case v1::DataConfig::CONTROL_TOKENS_ERROR:
      return ControlTokens::kError;
    case v1::DataConfig::CONTROL_TOKENS_AS_TEXT:
      return ControlTokens::kAsText;
    case v1::DataConfig::CONTROL_TOKENS_UNSPECIFIED:
    case kMinSentinel<v1::DataConfig::ControlTokens>:
    case kMaxSentinel<v1::DataConfig::ControlTokens>:
      break;
  }
  return Unresolved("data.control_tokens", control_tokens);
}

RecordError TooLongError(int64_t num_tokens, int64_t max_length) {
  return {
      .code = "TOO_LONG",
      .message = absl::StrCat("the conversation has ", num_tokens, " tokens, data.max_length is ",
                              max_length, "; raise it, or set data.too_long to truncate or skip"),
      .fatal = true};
}

RecordError ControlTokenFault(const RowNotes& notes, const Tokenizer& tokenizer) {
  return {.code = "CONTROL_TOKENS",
          .message = absl::StrCat(
              "messages[", notes.first_control_message, "] holds \"",
              std::string(tokenizer.IdToToken(notes.first_control_token)),
              "\", a control token, which can end or forge a turn; take it out, or set "
              "data.control_tokens: as_text (it stays text) or warn (it becomes the token)")};
}

RecordError StatusFault(std::string code, const absl::Status& status) {
  return {.code = std::move(code), .message = std::string(status.message())};
}

uint64_t Hash64(const std::string& text) {
  const std::string digest = Xxh3(text);
  uint64_t hash;
  std::memcpy(&hash, digest.data(), sizeof(hash));
  return hash;
}

}  // namespace

void FindContent(const RenderedConversation& rendered, std::vector<TextSpan>* content) {
  content->clear();
  for (const MessageSpan& span : rendered.message_spans) {
    if (!span.content) continue;
    if (!content->empty() && content->back().end == span.begin) {
      content->back().end = span.end;
    } else {
      content->push_back({span.begin, span.end});
    }
  }
}

ExamplePipeline::ExamplePipeline(const v1::DataConfig& config, const TextPipeline& text,
                                 const Choices& choices, std::unique_ptr<Profile> profile)
    : config_(config), text_(text), choices_(choices), profile_(std::move(profile)) {}

absl::StatusOr<std::unique_ptr<ExamplePipeline>> ExamplePipeline::Create(
    const v1::JobConfig& config, const TextPipeline& text) {
  ASSIGN_OR_RETURN(const TrainOn train_on, TargetConvention(config.data().train_on()));
  ASSIGN_OR_RETURN(const ControlTokens control_tokens,
                   ControlTokenRule(config.data().control_tokens()));
  ASSIGN_OR_RETURN(std::unique_ptr<Profile> profile, MakeProfile(config.data().profile()));
  if (train_on == TrainOn::kTemplate && !text.chat_template->has_generation_marks()) {
    return absl::InvalidArgumentError(
        "data.train_on is \"template\", but the chat template has no {% generation %} marks; set "
        "train_on: assistant, or chat_template to a .jinja file that has them");
  }
  return std::unique_ptr<ExamplePipeline>(
      new ExamplePipeline(config.data(), text, {train_on, control_tokens}, std::move(profile)));
}

TokenRow ExamplePipeline::Process(const JsonlLine& line, const RowOptions& options,
                                  Scratch* scratch) const {
  TokenRow row;
  row.example.index = options.index;
  if (line.too_long) {
    row.fault = RecordError{.code = "LINE_TOO_LONG",
                            .message = "the line is longer than 100 MiB; split the conversation"};
    return row;
  }
  Conversation conversation;
  row.fault = scratch->parser.Parse(line.text, options.format, &conversation);
  if (row.fault && row.fault->code == "BAD_JSON" && line.unterminated) {
    absl::StrAppend(
        &row.fault->message,
        "; the file ends inside this record, without a newline: it was cut off, copy it again");
  }
  if (!row.fault) {
    profile_->Transform(options.index, config_.system_prompt(), &conversation.messages);
    row.fault = Tokenize(conversation, options.keep_text, scratch, &row);
  }
  return row;
}

std::optional<RecordError> ExamplePipeline::Tokenize(const Conversation& conversation,
                                                     bool keep_text, Scratch* scratch,
                                                     TokenRow* row) const {
  const RenderOptions options{
      .tools = conversation.tools, .extra = conversation.variables, .now = config_.now()};
  absl::StatusOr<RenderedConversation> rendered =
      text_.chat_template->Render(conversation.messages, options);
  if (!rendered.ok()) return StatusFault("TEMPLATE_ERROR", rendered.status());
  const absl::StatusOr<std::vector<TextSpan>> spans =
      TargetSpans(*text_.chat_template, *rendered, conversation.messages, options, *text_.tokenizer,
                  choices_.train_on);
  if (!spans.ok()) return StatusFault("TARGET_SPANS", spans.status());
  Encoding& encoding = scratch->encoding;
  scratch->content.clear();
  if (choices_.control_tokens == ControlTokens::kAsText) FindContent(*rendered, &scratch->content);
  const absl::Status encoded =
      text_.tokenizer->EncodeWithPlainText(rendered->text, scratch->content, &encoding);
  if (!encoded.ok()) return StatusFault("BAD_UTF8", encoded);
  NoteTokens(conversation.messages, *rendered, encoding, *text_.tokenizer, &row->notes);
  if (row->notes.control_tokens && choices_.control_tokens == ControlTokens::kError) {
    return ControlTokenFault(row->notes, *text_.tokenizer);
  }

  // With bfd_split a long conversation is kept whole: it is cut into pieces when rows are packed.
  const int64_t max_length = SplitsLongExamples(config_.packing())
                                 ? std::numeric_limits<int32_t>::max()
                                 : config_.max_length();
  row->num_tokens = static_cast<int64_t>(encoding.ids.size());
  row->truncated = row->num_tokens > max_length;
  if (row->truncated) {
    switch (config_.too_long()) {
      case v1::DataConfig::TOO_LONG_FAIL:
        return TooLongError(row->num_tokens, max_length);
      case v1::DataConfig::TOO_LONG_SKIP:
        row->left_out = LeftOut::kTooLong;
        break;
      case v1::DataConfig::TOO_LONG_TRUNCATE:
      case v1::DataConfig::TOO_LONG_UNSPECIFIED:
      case kMinSentinel<v1::DataConfig::TooLong>:
      case kMaxSentinel<v1::DataConfig::TooLong>:
        break;
    }
  }
  LabelTokens(encoding, *spans, max_length, &row->example);
  row->num_targets = row->example.CountTargets();
  if (row->left_out == LeftOut::kNo && row->num_targets == 0) row->left_out = LeftOut::kNoTarget;
  row->text_hash = Hash64(rendered->text);
  NoteMessages(conversation.messages, &row->notes);
  if (choices_.train_on == TrainOn::kAll) row->notes.no_assistant = false;
  if (keep_text) row->text = std::move(rendered->text);
  return std::nullopt;
}

}  // namespace trainerd::engine
