// SPDX-License-Identifier: Apache-2.0
#include "engine/data/examples/pair_tokenizer.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "engine/data/profiles/python_text.h"
#include "engine/data/source/preference_pair.h"

namespace trainerd::engine {

struct PairTokenizer::Side {
  const char* name;  // the record's key
  // `messages` or `text` is the prompt with this answer.
  Conversation conversation;
  const RejectedAnswer& pair;
  RenderedConversation rendered;
  Encoding encoding;
  RowNotes notes;

  std::string NameOf(size_t message) const { return PairMessageName(pair, name, message); }
};

namespace {

// Tokens that both begin with.
size_t CountSharedTokens(const Encoding& a, const Encoding& b) {
  const size_t size = std::min(a.ids.size(), b.ids.size());
  size_t shared = 0;
  while (shared < size && a.ids[shared] == b.ids[shared]) ++shared;
  return shared;
}

// The first byte that came from a message of the answer, or from its text; npos = the template
// wrote none.
size_t FindAnswer(const RenderedConversation& rendered, const RejectedAnswer& pair, bool is_text) {
  if (is_text) return pair.prompt_size;
  for (const MessageSpan& span : rendered.message_spans) {
    if (span.content && span.begin < span.end && span.message >= static_cast<int>(pair.prompt_size))
      return span.begin;
  }
  return std::string::npos;
}

// The tokens that the renderer assigns to the answer: masking_check.cc compares them with the
// labels, which come from comparing tokens.
int32_t CountAnswerTokens(const Encoding& encoding, size_t size, size_t answer_byte) {
  int32_t count = 0;
  for (size_t i = 0; i < size; ++i) count += encoding.end[i] > answer_byte;
  return count;
}

void MergeNotes(const RowNotes& other, RowNotes* notes) {
  if (notes->empty_answer < 0) notes->empty_answer = other.empty_answer;
  notes->answer_in_question |= other.answer_in_question;
  notes->bad_encoding |= other.bad_encoding;
  notes->doubled_end |= other.doubled_end;
  notes->control_tokens |= other.control_tokens;
  notes->lost_bytes |= other.lost_bytes;
  notes->quoted_arguments |= other.quoted_arguments;
  for (const std::string& field : other.unrendered) {
    const auto& fields = notes->unrendered;
    if (std::find(fields.begin(), fields.end(), field) == fields.end())
      notes->unrendered.push_back(field);
  }
}

}  // namespace

std::optional<RecordError> PairTokenizer::RenderSide(const RenderOptions& options,
                                                     Side* side) const {
  nlohmann::ordered_json& messages = side->conversation.messages;
  const MessageName name = [&](size_t i) { return side->NameOf(i); };
  if (auto fault =
          RenderConversation(*text_.chat_template, options, name, &messages, &side->rendered)) {
    return fault;
  }
  bool has_answer = false;
  for (size_t i = side->pair.prompt_size; i < messages.size(); ++i) {
    has_answer |= messages[i]["role"] == "assistant";
  }
  if (!has_answer) {
    return RecordError{.code = "BAD_SCHEMA",
                       .message = absl::StrCat("\"", side->name,
                                               "\" has no message of the assistant after the "
                                               "prompt; it must hold the answer")};
  }
  NoteMessages(messages, &side->notes);
  NoteFields(side->conversation, *text_.chat_template, options, side->rendered, &side->notes);
  return EncodeRendered(*text_.tokenizer, side->rendered, control_tokens_,
                        /*add_special_tokens=*/false, &side->encoding);
}

std::optional<RecordError> PairTokenizer::EncodeMessages(Side* chosen, Side* rejected,
                                                         Encoding* prompt_tokens) const {
  RenderOptions options{.tools = chosen->conversation.tools,
                        .extra = chosen->conversation.variables,
                        .now = config_.now()};
  if (auto fault = RenderSide(options, chosen)) return fault;
  if (auto fault = RenderSide(options, rejected)) return fault;
  nlohmann::ordered_json prompt = nlohmann::ordered_json::array();
  for (size_t i = 0; i < chosen->pair.prompt_size; ++i) {
    prompt.push_back(chosen->conversation.messages[i]);
  }
  options.add_generation_prompt = true;
  RenderedConversation rendered;
  const MessageName name = [&](size_t i) { return chosen->NameOf(i); };
  if (auto fault = RenderConversation(*text_.chat_template, options, name, &prompt, &rendered)) {
    fault->message += "; this is the prompt without an answer";
    return fault;
  }
  return EncodeRendered(*text_.tokenizer, rendered, control_tokens_, /*add_special_tokens=*/false,
                        prompt_tokens);
}

std::optional<RecordError> PairTokenizer::EncodeText(Side* side) const {
  const std::string eos(text_.tokenizer->IdToToken(*text_.tokenizer->eos_id()));
  RenderedConversation& rendered = side->rendered;
  rendered.text = *side->conversation.text;
  // An EOS token at the end is the answer's own end, whoever wrote it.
  const bool has_eos =
      absl::EndsWith(absl::string_view(rendered.text).substr(side->pair.prompt_size), eos);
  if (!has_eos) rendered.text += eos;
  const auto size = static_cast<uint32_t>(rendered.text.size());
  const auto end = static_cast<uint32_t>(rendered.text.size() - eos.size());
  rendered.message_spans = {{.begin = 0, .end = end, .content = true}, {.begin = end, .end = size}};
  side->notes.bad_encoding = HasEncodingFault(*side->conversation.text);
  return EncodeRendered(*text_.tokenizer, rendered, control_tokens_, /*add_special_tokens=*/true,
                        &side->encoding);
}

std::optional<RecordError> PairTokenizer::EncodeTexts(const std::string& prompt, Side* chosen,
                                                      Side* rejected,
                                                      Encoding* prompt_tokens) const {
  if (!text_.tokenizer->eos_id().has_value()) return NoEosToken("an answer that is text");
  if (auto fault = EncodeText(chosen)) return fault;
  if (auto fault = EncodeText(rejected)) return fault;
  RenderedConversation rendered{.text = prompt};
  rendered.message_spans = {
      {.begin = 0, .end = static_cast<uint32_t>(prompt.size()), .content = true}};
  return EncodeRendered(*text_.tokenizer, rendered, control_tokens_, /*add_special_tokens=*/true,
                        prompt_tokens);
}

std::optional<RecordError> PairTokenizer::CheckSide(size_t prompt_tokens, Side* side) const {
  const nlohmann::ordered_json& messages = side->conversation.messages;
  const Encoding& encoding = side->encoding;
  const auto size = static_cast<uint32_t>(side->rendered.text.size());
  const bool is_text = side->conversation.text.has_value();
  if (is_text) {
    const MessageSpan& content = side->rendered.message_spans.front();
    const std::string_view answer =
        std::string_view(side->rendered.text)
            .substr(side->pair.prompt_size, content.end - side->pair.prompt_size);
    if (PythonStrip(answer).empty()) side->notes.empty_answer = 0;
  } else {
    const uint32_t begin =
        prompt_tokens < encoding.begin.size() ? encoding.begin[prompt_tokens] : size;
    NoteAnswers(messages, side->rendered, {{begin, size}}, &side->notes);
  }
  if (side->notes.empty_answer >= 0 &&
      config_.findings().empty_answer() == v1::FindingsConfig::REACTION_ERROR) {
    const auto message = static_cast<size_t>(side->notes.empty_answer);
    return is_text
               ? EmptyAnswerFault(absl::StrCat("\"", side->name, "\""), *side->conversation.text)
               : EmptyAnswerFault(side->NameOf(message), messages[message]);
  }
  NoteTokens(messages, side->rendered, encoding, *text_.tokenizer, &side->notes);
  if (!side->notes.control_tokens || control_tokens_ != ControlTokens::kError) return std::nullopt;
  const int message = side->notes.first_control_message;
  return ControlTokenFault(message < 0 ? absl::StrCat("\"", side->name, "\" with its prompt")
                                       : side->NameOf(static_cast<size_t>(message)),
                           side->notes, *text_.tokenizer);
}

std::optional<RecordError> PairTokenizer::LabelSide(size_t prompt_tokens, const Side& side,
                                                    LeftOut* left_out,
                                                    TokenizedText* result) const {
  const Encoding& encoding = side.encoding;
  const int64_t max_length = config_.max_length();
  result->num_tokens = static_cast<int64_t>(encoding.ids.size());
  result->truncated = result->num_tokens > max_length;
  if (result->truncated) {
    const std::string what = absl::StrCat("the prompt with the ", side.name, " answer has");
    if (auto fault = ApplyTooLong(config_, what, result->num_tokens, left_out)) return fault;
  }
  const size_t size = static_cast<size_t>(std::min(result->num_tokens, max_length));
  TokenExample& example = result->example;
  example.ids.assign(encoding.ids.begin(),
                     encoding.ids.begin() + static_cast<std::ptrdiff_t>(size));
  example.labels.assign(size, kIgnoreIndex);
  if (prompt_tokens < size) {
    std::copy(example.ids.begin() + static_cast<std::ptrdiff_t>(prompt_tokens), example.ids.end(),
              example.labels.begin() + static_cast<std::ptrdiff_t>(prompt_tokens));
    const size_t answer = FindAnswer(side.rendered, side.pair, side.conversation.text.has_value());
    example.target_spans = 1;
    // Of an answer without text (empty_answer: warn) nothing is known but its labels.
    example.span_tokens = answer == std::string::npos ? static_cast<int32_t>(size - prompt_tokens)
                                                      : CountAnswerTokens(encoding, size, answer);
    example.OmitFirstLabel();
  }
  result->num_targets = example.CountTargets();
  return std::nullopt;
}

std::optional<RecordError> PairTokenizer::Tokenize(Conversation* record, bool keep_text,
                                                   TokenRow* row) const {
  RejectedAnswer& pair = *record->pair;
  Side rejected{.name = "rejected",
                .conversation = {.messages = std::move(pair.messages),
                                 .tools = record->tools,
                                 .variables = record->variables},
                .pair = pair};
  Side chosen{.name = "chosen",
              .conversation = {.messages = std::move(record->messages),
                               .tools = std::move(record->tools),
                               .variables = std::move(record->variables),
                               .text = std::move(record->text)},
              .pair = pair};
  Encoding prompt;
  std::optional<RecordError> fault;
  if (chosen.conversation.text.has_value()) {
    rejected.conversation.text = std::move(pair.text);
    fault = EncodeTexts(chosen.conversation.text->substr(0, pair.prompt_size), &chosen, &rejected,
                        &prompt);
  } else {
    fault = EncodeMessages(&chosen, &rejected, &prompt);
  }
  if (fault) return fault;
  const size_t prompt_tokens = std::min(CountSharedTokens(prompt, chosen.encoding),
                                        CountSharedTokens(prompt, rejected.encoding));
  if ((fault = CheckSide(prompt_tokens, &chosen))) return fault;
  if ((fault = CheckSide(prompt_tokens, &rejected))) return fault;
  TokenizedText& second = row->rejected.emplace();
  second.example.index = row->example.index;
  if ((fault = LabelSide(prompt_tokens, chosen, &row->left_out, row))) return fault;
  if ((fault = LabelSide(prompt_tokens, rejected, &row->left_out, &second))) return fault;
  if (row->left_out == LeftOut::kNo && (row->num_targets == 0 || second.num_targets == 0)) {
    row->left_out = LeftOut::kNoTarget;
  }
  row->notes = std::move(chosen.notes);
  MergeNotes(rejected.notes, &row->notes);
  row->notes.differing_prompt =
      text_.tokenizer->Decode(absl::MakeConstSpan(prompt.ids).subspan(prompt_tokens));
  row->notes.equal_answers = row->example.ids == second.example.ids;
  row->text_hash = HashText(
      absl::StrCat(chosen.rendered.text, absl::string_view("\0", 1), rejected.rendered.text));
  if (!keep_text) return std::nullopt;
  row->text = std::move(chosen.rendered.text);
  second.text = std::move(rejected.rendered.text);
  return std::nullopt;
}

}  // namespace trainerd::engine
