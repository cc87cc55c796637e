// SPDX-License-Identifier: Apache-2.0
#include "engine/data/examples/example_pipeline.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/data/examples/labels.h"
#include "engine/data/profiles/python_text.h"
#include "engine/formats/json.h"
#include "engine/text/role_traits.h"
#include "engine/text/template_messages.h"
#include "proto/base/enum_sentinels.h"
#include "proto/base/format.h"
#include "proto/base/hash.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/config_choices.h"
#include "proto/contract/config/nearest_word.h"

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
  return {.code = "TOO_LONG",
          .message = absl::StrCat("the conversation has ", Counted(num_tokens, "token"),
                                  ", data.max_length is ", max_length,
                                  "; raise it, or set data.too_long to truncate or skip"),
          .fatal = true};
}

RecordError ControlTokenFault(const RowNotes& notes, const Tokenizer& tokenizer) {
  return {.code = "CONTROL_TOKENS",
          .message = absl::StrCat(
              notes.first_control_message < 0
                  ? "\"text\""
                  : absl::StrCat("messages[", notes.first_control_message, "]"),
              " holds \"", std::string(tokenizer.IdToToken(notes.first_control_token)),
              "\", a control token, which can end or forge a turn; take it out, or set "
              "data.control_tokens: as_text (it stays text) or warn (it becomes the token)")};
}

RecordError EmptyAnswerFault(const nlohmann::ordered_json& messages, int message) {
  return {.code = "EMPTY_ANSWER",
          .message = absl::StrCat(
              "messages[", message, "] is an answer of which the template renders no text (keys: ",
              ShownKeys(messages[static_cast<size_t>(message)]),
              "): only the end of the turn would be trained; to train it all the same, set "
              "data.findings.empty_answer: warn")};
}

RecordError StatusFault(std::string code, const absl::Status& status) {
  return {.code = std::move(code), .message = std::string(status.message())};
}

RecordError UnknownRole(const std::string& role, size_t message,
                        const std::vector<std::string>& printed) {
  const std::string near = NearestWord(role, printed);
  return {.code = "UNKNOWN_ROLE",
          .message = absl::StrCat(
              "unknown role ", ShownJson(nlohmann::ordered_json(role)), " in messages[", message,
              "]; ", near.empty() ? "the" : absl::StrCat("did you mean \"", near, "\"? The"),
              " chat template prints only the roles ", absl::StrJoin(printed, ", "))};
}

// Refuses a role of which the template prints nothing. A role that the template prints like the
// assistant's becomes "assistant": its messages are answers.
std::optional<RecordError> ReadRoles(const ChatTemplate& chat_template,
                                     const RenderOptions& options,
                                     nlohmann::ordered_json* messages) {
  for (size_t i = 0; i < messages->size(); ++i) {
    nlohmann::ordered_json& role = (*messages)[i]["role"];
    const RoleTraits& traits = chat_template.TraitsOf(role.get_ref<const std::string&>(), options);
    if (!traits.printed && !traits.refused) {
      return UnknownRole(role.get_ref<const std::string&>(), i,
                         chat_template.PrintedRoles(options));
    }
    if (traits.answers) role = "assistant";
  }
  return std::nullopt;
}

// Profiles change text: lists of parts are joined for them.
void JoinContent(nlohmann::ordered_json* messages) {
  for (nlohmann::ordered_json& message : *messages) {
    const auto content = message.find("content");
    if (content == message.end()) continue;
    if (std::optional<std::string> text = JoinedParts(*content)) *content = *std::move(text);
  }
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
  const RenderOptions with_tools{.tools = nlohmann::ordered_json::array()};
  if (train_on == TrainOn::kTemplate && !text.chat_template->has_generation_marks() &&
      !text.chat_template->has_generation_marks(with_tools)) {
    return absl::InvalidArgumentError(
        "data.train_on is \"template\", but the chat template has no {% generation %} marks; set "
        "train_on: assistant, or chat_template to a .jinja file that has them");
  }
  auto pipeline = std::unique_ptr<ExamplePipeline>(
      new ExamplePipeline(config.data(), text, {train_on, control_tokens}, std::move(profile)));
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
  if (!conversation.text) {
    if (config_.profile() != v1::DataConfig::PROFILE_NONE) JoinContent(&conversation.messages);
    profile_->Transform(options.index, config_.system_prompt(), &conversation.messages);
  }
  row.fault = Tokenize(conversation, options.keep_text, scratch, &row);
  return row;
}

std::optional<RecordError> ExamplePipeline::RenderMessages(Conversation& conversation,
                                                           Scratch* scratch, TrainingText* text,
                                                           RowNotes* notes) const {
  const RenderOptions options{
      .tools = conversation.tools, .extra = conversation.variables, .now = config_.now()};
  if (auto fault = ReadRoles(*text_.chat_template, options, &conversation.messages)) return fault;
  absl::StatusOr<RenderedConversation> rendered =
      text_.chat_template->Render(conversation.messages, options);
  if (!rendered.ok()) return StatusFault("TEMPLATE_ERROR", rendered.status());
  absl::StatusOr<std::vector<TextSpan>> targets =
      TargetSpans(*text_.chat_template, *rendered, conversation.messages, options, *text_.tokenizer,
                  choices_.train_on);
  if (!targets.ok()) return StatusFault("TARGET_SPANS", targets.status());
  text->rendered = *std::move(rendered);
  text->targets = *std::move(targets);
  NoteMessages(conversation.messages, notes);
  NoteFields(conversation, *text_.chat_template, options, text->rendered, notes);
  if (choices_.train_on == TrainOn::kAll) notes->no_assistant = false;
  NoteAnswers(conversation.messages, text->rendered, text->targets, notes);
  if (notes->empty_answer >= 0 &&
      config_.findings().empty_answer() == v1::FindingsConfig::REACTION_ERROR) {
    return EmptyAnswerFault(conversation.messages, notes->empty_answer);
  }
  return EncodeText(*text, scratch);
}

std::optional<RecordError> ExamplePipeline::TakeText(const std::string& text, Scratch* scratch,
                                                     TrainingText* result, RowNotes* notes) const {
  const std::optional<int32_t> eos = text_.tokenizer->eos_id();
  if (!eos.has_value()) {
    return RecordError{.code = "MODEL_FOLDER",
                       .message =
                           "a {\"text\": …} record ends with the tokenizer's eos_token, and "
                           "tokenizer_config.json names none; add it",
                       .fatal = true};
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
  scratch->content.clear();
  if (choices_.control_tokens == ControlTokens::kAsText) {
    FindContent(text.rendered, &scratch->content);
  }
  const absl::Status encoded = text_.tokenizer->EncodeWithPlainText(
      text.rendered.text, scratch->content, &scratch->encoding);
  if (!encoded.ok()) return StatusFault("BAD_UTF8", encoded);
  return std::nullopt;
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
  LabelTokens(encoding, text.targets, max_length, &row->example);
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
    return ControlTokenFault(row->notes, *text_.tokenizer);
  }
  if ((fault = LabelRow(text, encoding, row))) return fault;
  if (conversation.text) row->example.OmitFirstLabel();
  row->num_targets = row->example.CountTargets();
  if (row->left_out == LeftOut::kNo && row->num_targets == 0) row->left_out = LeftOut::kNoTarget;
  row->text_hash = Hash64(text.rendered.text);
  if (keep_text) row->text = std::move(text.rendered.text);
  return std::nullopt;
}

}  // namespace trainerd::engine
