// SPDX-License-Identifier: Apache-2.0
#include "engine/train/sample_generator.h"

#include <algorithm>
#include <utility>

#include "engine/data/examples/rendering.h"
#include "engine/model/config/generation_config.h"
#include "engine/model/folder/answer_probe.h"
#include "engine/model/generate.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

void AddId(int32_t id, std::vector<int32_t>* ids) {
  if (std::find(ids->begin(), ids->end(), id) == ids->end()) ids->push_back(id);
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
  ASSIGN_OR_RETURN(const std::vector<int32_t> eos_ids, EosIdsOf(model_folder));
  for (const int32_t id : eos_ids) AddId(id, &stop_ids);
  const AnswerProbe probe = ProbeAnswer(chat_template, tokenizer, now);
  if (probe.end_of_turn.has_value()) AddId(*probe.end_of_turn, &stop_ids);
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
