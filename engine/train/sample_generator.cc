// SPDX-License-Identifier: Apache-2.0
#include "engine/train/sample_generator.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/data/examples/example_pipeline.h"
#include "engine/formats/json.h"
#include "engine/model/generate.h"
#include "engine/text/target_spans.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

void AddId(int64_t id, std::vector<int32_t>* ids) {
  if (id < 0 || std::find(ids->begin(), ids->end(), id) != ids->end()) return;
  ids->push_back(static_cast<int32_t>(id));
}

// "eos_token_id" of a JSON file: a number, a list of numbers, or nothing.
absl::Status AddEosIds(const std::string& path, std::vector<int32_t>* ids) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  // Both files are optional here; config.json was checked when the model was opened.
  if (!text.ok()) return absl::OkStatus();
  const absl::StatusOr<Json> json = ParseOrderedJson(*text);
  if (!json.ok()) return Annotate(json.status(), path);
  if (!json->is_object() || !json->contains("eos_token_id")) return absl::OkStatus();
  const Json& value = (*json)["eos_token_id"];
  if (value.is_null()) return absl::OkStatus();
  for (const Json& id : value.is_array() ? value : Json::array({value})) {
    if (!id.is_number_integer()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": \"eos_token_id\" has the value ",
                                                     ShownJson(id), "; it must be a token id"));
    }
    AddId(id.get<int64_t>(), ids);
  }
  return absl::OkStatus();
}

// The special token that the template writes at the end of an assistant message; nullopt if the
// template has none, or rejects this conversation.
std::optional<int32_t> EndOfTurn(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                                 const std::string& now) {
  const Json messages = Json::array(
      {{{"role", "user"}, {"content", "a"}}, {{"role", "assistant"}, {"content", "b"}}});
  const RenderOptions options{.now = now};
  const absl::StatusOr<RenderedConversation> rendered = chat_template.Render(messages, options);
  if (!rendered.ok()) return std::nullopt;
  const absl::StatusOr<std::vector<TextSpan>> spans =
      TargetSpans(chat_template, *rendered, messages, options, tokenizer, TrainOn::kAssistant);
  if (!spans.ok() || spans->empty()) return std::nullopt;
  Encoding encoding;
  if (!tokenizer.Encode(rendered->text, &encoding).ok()) return std::nullopt;
  for (size_t i = encoding.size(); i-- > 0;) {
    if (encoding.begin[i] >= spans->back().end) continue;
    if (tokenizer.IsSpecial(encoding.ids[i])) return encoding.ids[i];
    return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SampleGenerator>> SampleGenerator::Create(
    const std::string& model_folder, const Tokenizer& tokenizer, const ChatTemplate& chat_template,
    PromptOptions options) {
  const std::string now = options.now;
  std::unique_ptr<SampleGenerator> sample_generator(
      new SampleGenerator(tokenizer, chat_template, std::move(options)));
  std::vector<int32_t>& stop_ids = sample_generator->stop_ids_;
  if (tokenizer.eos_id().has_value()) AddId(*tokenizer.eos_id(), &stop_ids);
  RETURN_IF_ERROR(AddEosIds(absl::StrCat(model_folder, "/generation_config.json"), &stop_ids));
  RETURN_IF_ERROR(AddEosIds(absl::StrCat(model_folder, "/config.json"), &stop_ids));
  if (const std::optional<int32_t> id = EndOfTurn(tokenizer, chat_template, now); id.has_value())
    AddId(*id, &stop_ids);
  return sample_generator;
}

absl::StatusOr<std::vector<int32_t>> SampleGenerator::ConversationIds(const Json& messages) const {
  const RenderOptions options{.add_generation_prompt = true, .now = options_.now};
  ASSIGN_OR_RETURN(const RenderedConversation rendered, chat_template_.Render(messages, options));
  std::vector<TextSpan> plain;
  if (options_.control_tokens_as_text) FindContent(rendered, &plain);
  Encoding encoding;
  RETURN_IF_ERROR(tokenizer_.EncodeWithPlainText(rendered.text, plain, &encoding));
  return std::move(encoding.ids);
}

absl::StatusOr<std::vector<int32_t>> SampleGenerator::TextIds(const std::string& text) const {
  Encoding encoding;
  RETURN_IF_ERROR(tokenizer_.Encode(text, &encoding, /*add_special_tokens=*/true));
  return std::move(encoding.ids);
}

absl::StatusOr<std::string> SampleGenerator::Answer(Decoder& decoder,
                                                    const std::vector<int32_t>& ids,
                                                    const AnswerOptions& options) const {
  const GenerateOptions generate{
      .max_tokens = options.max_tokens, .stop_ids = stop_ids_, .cancelled = options.cancelled};
  ASSIGN_OR_RETURN(const std::vector<int32_t> answer, GenerateGreedy(decoder, ids, generate));
  return tokenizer_.Decode(answer, /*skip_special_tokens=*/true);
}

}  // namespace trainerd::engine
