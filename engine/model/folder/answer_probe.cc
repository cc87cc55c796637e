// SPDX-License-Identifier: Apache-2.0
#include "engine/model/folder/answer_probe.h"

#include "engine/text/target_spans.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

// The token at the end of `span`, if it is special.
std::optional<int32_t> SpecialAtEnd(const Encoding& encoding, const TextSpan& span,
                                    const Tokenizer& tokenizer) {
  for (size_t i = encoding.size(); i-- > 0;) {
    if (encoding.begin[i] >= span.end) continue;
    const int32_t id = encoding.ids[i];
    if (tokenizer.IsSpecial(id) || id == tokenizer.eos_id()) return id;
    return std::nullopt;
  }
  return std::nullopt;
}

// False if the template refuses `messages`.
bool Probe(const Json& messages, const ChatTemplate& chat_template, const Tokenizer& tokenizer,
           const RenderOptions& options, AnswerProbe* probe) {
  const absl::StatusOr<RenderedConversation> rendered = chat_template.Render(messages, options);
  Encoding encoding;
  if (!rendered.ok() || !tokenizer.Encode(rendered->text, &encoding).ok()) return false;
  const absl::StatusOr<std::vector<TextSpan>> spans =
      TargetSpans(chat_template, *rendered, messages, options, tokenizer, TrainOn::kAssistant);
  probe->answer_found = spans.status();
  if (spans.ok() && !spans->empty())
    probe->end_of_turn = SpecialAtEnd(encoding, spans->back(), tokenizer);
  probe->ids = std::move(encoding.ids);
  return true;
}

}  // namespace

AnswerProbe ProbeAnswer(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                        const std::string& now) {
  Json messages = Json::array(
      {{{"role", "user"}, {"content", "a"}}, {{"role", "assistant"}, {"content", "b"}}});
  const RenderOptions options{.now = now};
  AnswerProbe probe;
  if (Probe(messages, chat_template, tokenizer, options, &probe) && probe.answer_found.ok())
    return probe;
  // Some templates require a system message.
  const Json system = {{"role", "system"}, {"content", "c"}};
  messages.insert(messages.begin(), system);
  AnswerProbe second;
  if (Probe(messages, chat_template, tokenizer, options, &second)) probe = std::move(second);
  return probe;
}

}  // namespace trainerd::engine
