// SPDX-License-Identifier: Apache-2.0
#include "engine/data/examples/rendering.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/data/source/source_format.h"
#include "engine/formats/json.h"
#include "engine/text/role_traits.h"
#include "proto/base/enum_sentinels.h"
#include "proto/base/format.h"
#include "proto/base/hash.h"
#include "proto/contract/config/advice/nearest_word.h"

#pragma GCC diagnostic error "-Wswitch"

namespace trainerd::engine {
namespace {

RecordError UnknownRole(const std::string& role, const std::string& where,
                        const std::vector<std::string>& printed) {
  const std::string near = NearestWord(role, printed);
  return {.code = "UNKNOWN_ROLE",
          .message = absl::StrCat(
              "unknown role ", ShownJson(nlohmann::ordered_json(role)), " in ", where, "; ",
              near.empty() ? "the" : absl::StrCat("did you mean \"", near, "\"? The"),
              " chat template prints only the roles ", absl::StrJoin(printed, ", "))};
}

}  // namespace

std::string MessageInList(size_t index) { return absl::StrCat("messages[", index, "]"); }

std::optional<RecordError> RenderConversation(const ChatTemplate& chat_template,
                                              const RenderOptions& options, const MessageName& name,
                                              nlohmann::ordered_json* messages,
                                              RenderedConversation* rendered) {
  for (size_t i = 0; i < messages->size(); ++i) {
    nlohmann::ordered_json& role = (*messages)[i]["role"];
    const RoleTraits& traits = chat_template.TraitsOf(role.get_ref<const std::string&>(), options);
    if (!traits.printed && !traits.refused) {
      return UnknownRole(role.get_ref<const std::string&>(), name(i),
                         chat_template.PrintedRoles(options));
    }
    if (traits.answers) role = "assistant";
  }
  absl::StatusOr<RenderedConversation> result = chat_template.Render(*messages, options);
  if (!result.ok()) return StatusFault("TEMPLATE_ERROR", result.status());
  *rendered = *std::move(result);
  return std::nullopt;
}

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

std::optional<RecordError> EncodeRendered(const Tokenizer& tokenizer,
                                          const RenderedConversation& rendered,
                                          ControlTokens control_tokens, bool add_special_tokens,
                                          Encoding* encoding) {
  std::vector<TextSpan> plain;
  if (control_tokens == ControlTokens::kAsText) FindContent(rendered, &plain);
  const absl::Status encoded =
      tokenizer.EncodeWithPlainText(rendered.text, plain, encoding, add_special_tokens);
  if (!encoded.ok()) return StatusFault("BAD_UTF8", encoded);
  return std::nullopt;
}

std::optional<RecordError> ApplyTooLong(const v1::DataConfig& config, const std::string& what,
                                        int64_t num_tokens, LeftOut* left_out) {
  switch (config.too_long()) {
    case v1::DataConfig::TOO_LONG_FAIL:
      return RecordError{
          .code = "TOO_LONG",
          .message = absl::StrCat(what, " ", Counted(num_tokens, "token"), ", data.max_length is ",
                                  config.max_length(),
                                  "; raise it, or set data.too_long to truncate or skip"),
          .fatal = true};
    case v1::DataConfig::TOO_LONG_SKIP:
      *left_out = LeftOut::kTooLong;
      break;
    case v1::DataConfig::TOO_LONG_TRUNCATE:
    case v1::DataConfig::TOO_LONG_UNSPECIFIED:
    case kMinSentinel<v1::DataConfig::TooLong>:
    case kMaxSentinel<v1::DataConfig::TooLong>:
      break;
  }
  return std::nullopt;
}

RecordError ControlTokenFault(const std::string& where, const RowNotes& notes,
                              const Tokenizer& tokenizer) {
  return {.code = "CONTROL_TOKENS",
          .message = absl::StrCat(
              where, " holds \"", std::string(tokenizer.IdToToken(notes.first_control_token)),
              "\", a control token, which can end or forge a turn; take it out, or set "
              "data.control_tokens: as_text (it stays text) or warn (it becomes the token)")};
}

RecordError EmptyAnswerFault(const std::string& where, const nlohmann::ordered_json& message) {
  return {.code = "EMPTY_ANSWER",
          .message = absl::StrCat(
              where, " is an answer of which the template renders no text",
              message.is_object() ? absl::StrCat(" (keys: ", ShownKeys(message), ")") : "",
              ": only the end of the turn would be trained; to train it all the same, set "
              "data.findings.empty_answer: warn")};
}

RecordError NoEosToken(const std::string& what) {
  return {.code = "MODEL_FOLDER",
          .message = absl::StrCat(what,
                                  " ends with the tokenizer's eos_token, and "
                                  "tokenizer_config.json names none; add it"),
          .fatal = true};
}

RecordError StatusFault(std::string code, const absl::Status& status) {
  return {.code = std::move(code), .message = std::string(status.message())};
}

uint64_t HashText(const std::string& text) {
  const std::string digest = Xxh3(text);
  uint64_t hash;
  std::memcpy(&hash, digest.data(), sizeof(hash));
  return hash;
}

}  // namespace trainerd::engine
