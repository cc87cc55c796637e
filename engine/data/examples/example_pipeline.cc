// SPDX-License-Identifier: Apache-2.0
#include "engine/data/examples/example_pipeline.h"

#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/data/examples/labels.h"
#include "engine/data/profiles/python_text.h"
#include "engine/data/source/preference_pair.h"
#include "engine/text/template_messages.h"
#include "proto/base/enum_sentinels.h"
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

// Profiles change text: lists of parts are joined for them.
void JoinContent(nlohmann::ordered_json* messages) {
  for (nlohmann::ordered_json& message : *messages) {
    const auto content = message.find("content");
    if (content == message.end()) continue;
    if (std::optional<std::string> text = JoinedParts(*content)) *content = *std::move(text);
  }
}

}  // namespace

ExamplePipeline::ExamplePipeline(const v1::JobConfig& config, const TextPipeline& text,
                                 const Choices& choices, std::unique_ptr<Profile> profile)
    : config_(config.data()),
      text_(text),
      choices_(choices),
      profile_(std::move(profile)),
      pairs_(config.data(), text, choices.control_tokens),
      reads_pairs_(config.has_preference()) {}

std::optional<SourceFormat> ExamplePipeline::fixed_format() const {
  if (!reads_pairs_) return std::nullopt;
  return SourceFormat::kPreference;
}

absl::StatusOr<std::unique_ptr<ExamplePipeline>> ExamplePipeline::Create(
    const v1::JobConfig& config, const TextPipeline& text) {
  ASSIGN_OR_RETURN(const TrainOn train_on, TargetConvention(config.data().train_on()));
  ASSIGN_OR_RETURN(const ControlTokens control_tokens,
                   ControlTokenRule(config.data().control_tokens()));
  ASSIGN_OR_RETURN(std::unique_ptr<Profile> profile, MakeProfile(config.data().profile()));
  const RenderOptions with_tools{.tools = nlohmann::ordered_json::array()};
  if (train_on == TrainOn::kTemplate && !text.chat_template->has_generation_marks() &&
      !text.chat_template->has_generation_marks(with_tools)) {
    return absl::InvalidArgumentError(
        "data.train_on is \"template\", but the chat template has no {% generation %} marks; set "
        "train_on: assistant, or chat_template to a .jinja file that has them");
  }
  auto pipeline = std::unique_ptr<ExamplePipeline>(
      new ExamplePipeline(config, text, {train_on, control_tokens}, std::move(profile)));
  Encoding specials;
  RETURN_IF_ERROR(text.tokenizer->Encode("", &specials, /*add_special_tokens=*/true));
  pipeline->text_starts_with_bos_ = text.tokenizer->bos_id().has_value() && !specials.ids.empty() &&
                                    specials.ids.front() == *text.tokenizer->bos_id();
  return pipeline;
}

TokenRow ExamplePipeline::Process(const JsonlLine& line, const RowOptions& options,
                                  Scratch* scratch) const {
  TokenRow row;
  row.example.index = options.index;
  if (line.too_long) {
    row.fault = TooLongLine();
    return row;
  }
  Conversation conversation;
  row.fault = scratch->parser.Parse(line.text, options.format, &conversation, line.unterminated);
  if (row.fault) {
    LocateInFile(line, &*row.fault);
    return row;
  }
  row.unused_keys = std::move(conversation.unused_keys);
  if (conversation.pair) {
    AddSystemPrompt(&conversation);
    row.fault = pairs_.Tokenize(&conversation, options.keep_text, &row);
    if (row.fault) row.rejected.reset();
    return row;
  }
  if (!conversation.text) {
    if (config_.profile() != v1::DataConfig::PROFILE_NONE) JoinContent(&conversation.messages);
    profile_->Transform(options.index, config_.system_prompt(), &conversation.messages);
  }
  row.fault = Tokenize(conversation, options.keep_text, scratch, &row);
  return row;
}

void ExamplePipeline::AddSystemPrompt(Conversation* conversation) const {
  if (conversation->text) return;
  const size_t before = conversation->messages.size();
  InsertSystemPrompt(config_.system_prompt(), &conversation->messages);
  RepeatAddedMessage(before, conversation);
}

std::optional<RecordError> ExamplePipeline::RenderMessages(Conversation& conversation,
                                                           Scratch* scratch, TrainingText* text,
                                                           RowNotes* notes) const {
  const RenderOptions options{
      .tools = conversation.tools, .extra = conversation.variables, .now = config_.now()};
  if (auto fault = RenderConversation(*text_.chat_template, options, MessageInList,
                                      &conversation.messages, &text->rendered)) {
    return fault;
  }
  absl::StatusOr<std::vector<TextSpan>> targets =
      TargetSpans(*text_.chat_template, text->rendered, conversation.messages, options,
                  *text_.tokenizer, choices_.train_on);
  if (!targets.ok()) return StatusFault("TARGET_SPANS", targets.status());
  text->targets = *std::move(targets);
  text->weights = MessageWeights(text->rendered, conversation.messages);
  NoteMessages(conversation.messages, notes);
  NoteFields(conversation, *text_.chat_template, options, text->rendered, notes);
  if (choices_.train_on == TrainOn::kAll) notes->no_assistant = false;
  NoteAnswers(conversation.messages, text->rendered, text->targets, notes);
  if (notes->empty_answer >= 0 &&
      config_.findings().empty_answer() == v1::FindingsConfig::REACTION_ERROR) {
    const auto message = static_cast<size_t>(notes->empty_answer);
    return EmptyAnswerFault(MessageInList(message), conversation.messages[message]);
  }
  return EncodeText(*text, scratch);
}

std::optional<RecordError> ExamplePipeline::TakeText(const std::string& text, Scratch* scratch,
                                                     TrainingText* result, RowNotes* notes) const {
  const std::optional<int32_t> eos = text_.tokenizer->eos_id();
  if (!eos.has_value()) {
    return NoEosToken("a {\"text\": …} record");
  }
  RenderedConversation& rendered = result->rendered;
  rendered.text = text;
  const auto size = static_cast<uint32_t>(text.size());
  rendered.message_spans = {{.begin = 0, .end = size, .content = true}};
  if (auto fault = EncodeText(*result, scratch)) return fault;
  Encoding& encoding = scratch->encoding;
  if (encoding.ids.empty() || encoding.ids.back() != *eos) {
    absl::StrAppend(&rendered.text, std::string(text_.tokenizer->IdToToken(*eos)));
    const auto end = static_cast<uint32_t>(rendered.text.size());
    rendered.message_spans.push_back({.begin = size, .end = end});
    encoding.ids.push_back(*eos);
    encoding.begin.push_back(size);
    encoding.end.push_back(end);
  }
  if (text_starts_with_bos_) {
    encoding.ids.insert(encoding.ids.begin(), *text_.tokenizer->bos_id());
    encoding.begin.insert(encoding.begin.begin(), 0);
    encoding.end.insert(encoding.end.begin(), 0);
  }
  if (!PythonStrip(text).empty()) {
    result->targets = {{0, static_cast<uint32_t>(rendered.text.size())}};
  }
  notes->bad_encoding = HasEncodingFault(text);
  return std::nullopt;
}

std::optional<RecordError> ExamplePipeline::EncodeText(const TrainingText& text,
                                                       Scratch* scratch) const {
  return EncodeRendered(*text_.tokenizer, text.rendered, choices_.control_tokens,
                        /*add_special_tokens=*/false, &scratch->encoding);
}

std::optional<RecordError> ExamplePipeline::LabelRow(const TrainingText& text,
                                                     const Encoding& encoding,
                                                     TokenRow* row) const {
  // With bfd_split a long conversation is kept whole: it is cut into pieces when rows are packed.
  const int64_t max_length = SplitsLongExamples(config_.packing())
                                 ? std::numeric_limits<int32_t>::max()
                                 : config_.max_length();
  row->num_tokens = static_cast<int64_t>(encoding.ids.size());
  row->truncated = row->num_tokens > max_length;
  if (row->truncated) {
    if (auto fault = ApplyTooLong(config_, "the conversation has", row->num_tokens, &row->left_out))
      return fault;
  }
  LabelTokens(encoding, text.targets, max_length, &row->example);
  if (!text.weights.empty()) WeighTokens(encoding, text.targets, text.weights, &row->example);
  return std::nullopt;
}

std::optional<RecordError> ExamplePipeline::Tokenize(Conversation& conversation, bool keep_text,
                                                     Scratch* scratch, TokenRow* row) const {
  TrainingText text;
  auto fault = conversation.text ? TakeText(*conversation.text, scratch, &text, &row->notes)
                                 : RenderMessages(conversation, scratch, &text, &row->notes);
  if (fault) return fault;
  const Encoding& encoding = scratch->encoding;
  NoteTokens(conversation.messages, text.rendered, encoding, *text_.tokenizer, &row->notes);
  if (row->notes.control_tokens && choices_.control_tokens == ControlTokens::kError) {
    const int message = row->notes.first_control_message;
    return ControlTokenFault(message < 0 ? "\"text\"" : MessageInList(static_cast<size_t>(message)),
                             row->notes, *text_.tokenizer);
  }
  if ((fault = LabelRow(text, encoding, row))) return fault;
  if (conversation.text) row->example.OmitFirstLabel();
  row->num_targets = row->example.CountTargets();
  if (row->left_out == LeftOut::kNo && row->num_targets == 0) row->left_out = LeftOut::kNoTarget;
  row->text_hash = HashText(text.rendered.text);
  if (keep_text) row->text = std::move(text.rendered.text);
  return std::nullopt;
}

}  // namespace trainerd::engine
