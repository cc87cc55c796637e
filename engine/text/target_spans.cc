// SPDX-License-Identifier: Apache-2.0
#include "engine/text/target_spans.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

bool IsAssistant(const Json& message) {
  const auto role = message.find("role");
  return role != message.end() && role->is_string() && *role == "assistant";
}

// As the loss multiplies with it: what rounds to 0 is 0.
float WeightOf(const Json& message) {
  const auto weight = message.find("weight");
  return weight != message.end() && weight->is_number() ? weight->get<float>() : 1.0f;
}

// Switched off by weight: 0 or train: false.
bool IsOff(const Json& message) {
  if (WeightOf(message) == 0.0f) return true;
  const auto train = message.find("train");
  return train != message.end() && train->is_boolean() && !train->get<bool>();
}

// What the template wrote for one message.
struct Region {
  bool found = false;
  bool contiguous = true;
  uint32_t begin = 0, end = 0;
  uint32_t first_content = UINT32_MAX;  // first byte of its content; UINT32_MAX = none was written
  uint32_t content_end = 0;             // behind its last byte; 0 = none was written
};

std::vector<Region> FindRegions(const RenderedConversation& rendered, size_t num_messages) {
  std::vector<Region> regions(num_messages);
  for (const MessageSpan& span : rendered.message_spans) {
    if (span.message < 0 || static_cast<size_t>(span.message) >= num_messages) continue;
    Region& r = regions[static_cast<size_t>(span.message)];
    if (!r.found) {
      r.found = true;
      r.begin = span.begin;
    } else if (r.end != span.begin) {
      r.contiguous = false;
    }
    r.end = span.end;
    if (span.content) {
      r.first_content = std::min(r.first_content, span.begin);
      r.content_end = span.end;
    }
  }
  return regions;
}

// Messages [0, count).
Json FirstMessages(const Json& messages, size_t count) {
  Json first = Json::array();
  for (size_t i = 0; i < count; ++i) first.push_back(messages[i]);
  return first;
}

// What the template wrote behind the last message.
std::string_view Tail(const RenderedConversation& rendered) {
  uint32_t end = 0;
  for (const MessageSpan& span : rendered.message_spans) {
    if (span.message >= 0) end = span.end;
  }
  return std::string_view(rendered.text).substr(end);
}

// What add_generation_prompt makes of `messages`. If it is written after the loop over the
// messages, it belongs to no message, and the template may write something else there without a
// prompt (Phi 3: the EOS token). If it is written inside the loop, it is the difference between the
// two renderings. Nothing if neither shows it.
std::optional<std::string> PromptAfter(const ChatTemplate& chat_template, const Json& messages,
                                       RenderOptions options, std::string_view usual_tail) {
  options.add_generation_prompt = true;
  const auto with = chat_template.Render(messages, options);
  if (!with.ok()) return std::nullopt;
  const std::string_view tail = Tail(*with);
  if (!tail.empty()) {
    const bool goes_on = tail.substr(0, usual_tail.size()) == usual_tail;
    return std::string(goes_on ? tail.substr(usual_tail.size()) : tail);
  }
  options.add_generation_prompt = false;
  const auto without = chat_template.Render(messages, options);
  if (!without.ok()) return std::nullopt;
  const std::string_view text = with->text;
  if (text.substr(0, without->text.size()) != without->text) return std::nullopt;
  return std::string(text.substr(without->text.size()));
}

// The prompt that the model sees before the first assistant message.
std::optional<std::string> GenerationPrompt(const ChatTemplate& chat_template,
                                            const RenderedConversation& rendered,
                                            const Json& messages, const RenderOptions& options) {
  const std::string usual_tail(options.add_generation_prompt ? "" : Tail(rendered));
  size_t first = 0;
  while (first < messages.size() && !IsAssistant(messages[first])) ++first;
  if (first > 0) {
    auto prompt = PromptAfter(chat_template, FirstMessages(messages, first), options, usual_tail);
    if (prompt.has_value()) return prompt;
  }
  // The template refuses the messages before it alone, or there are none.
  return PromptAfter(chat_template, messages, options, usual_tail);
}

// End of the header of the message in `region`, or nothing if it cannot be determined.
std::optional<uint32_t> HeaderEnd(std::string_view text, const Region& region,
                                  std::string_view prompt) {
  const std::string_view written = text.substr(region.begin, region.end - region.begin);
  if (written.substr(0, prompt.size()) == prompt) {
    return region.begin + static_cast<uint32_t>(prompt.size());
  }
  // The prompt may continue where this message's header ends (Qwen3: an empty think block).
  const uint32_t literal_end = std::min(region.first_content, region.end);
  const size_t limit = std::min<size_t>(prompt.size(), literal_end - region.begin);
  const auto common = static_cast<uint32_t>(
      std::mismatch(written.begin(), written.begin() + static_cast<std::ptrdiff_t>(limit),
                    prompt.begin())
          .first -
      written.begin());
  if (common > 0) return region.begin + common;
  // The header may have been written at the end of the message before.
  const std::string_view before = text.substr(0, region.begin);
  if (before.size() >= prompt.size() && before.substr(before.size() - prompt.size()) == prompt) {
    return region.begin;
  }
  return std::nullopt;
}

// Spellings of the tokens that may end a turn.
std::vector<std::string_view> EndTokens(const Tokenizer& tokenizer) {
  std::vector<std::string_view> tokens;
  for (const AddedToken& token : tokenizer.added_tokens()) {
    if (token.special) tokens.push_back(token.content);
  }
  if (tokenizer.eos_id().has_value()) tokens.push_back(tokenizer.IdToToken(*tokenizer.eos_id()));
  return tokens;
}

// Behind the first end token in text[begin, end), or nothing.
std::optional<uint32_t> TurnEnd(std::string_view text, uint32_t begin, uint32_t end,
                                const std::vector<std::string_view>& end_tokens) {
  const std::string_view rest = text.substr(begin, end - begin);
  size_t best = std::string_view::npos, best_size = 0;
  for (const std::string_view token : end_tokens) {
    if (token.empty()) continue;
    const size_t at = rest.find(token);
    if (at < best || (at == best && at != std::string_view::npos && token.size() > best_size)) {
      best = at;
      best_size = token.size();
    }
  }
  if (best == std::string_view::npos) return std::nullopt;
  return begin + static_cast<uint32_t>(best + best_size);
}

// `spans` without the bytes of messages that are switched off.
std::vector<TextSpan> WithoutOff(const std::vector<TextSpan>& spans,
                                 const RenderedConversation& rendered, const Json& messages) {
  std::vector<TextSpan> kept;
  for (const TextSpan& span : spans) {
    for (const MessageSpan& m : rendered.message_spans) {
      const uint32_t begin = std::max(span.begin, m.begin), end = std::min(span.end, m.end);
      if (begin >= end) continue;
      const auto index = static_cast<size_t>(m.message);
      if (m.message >= 0 && index < messages.size() && IsOff(messages[index])) continue;
      if (!kept.empty() && kept.back().end == begin) {
        kept.back().end = end;
      } else {
        kept.push_back({begin, end});
      }
    }
  }
  return kept;
}

absl::Status Undetermined(size_t message, const char* what) {
  return absl::InvalidArgumentError(absl::StrCat(
      "the chat template does not show which text is message ", message, " (assistant): ", what));
}

// What the user can set instead; only marks make data.train_on: template work.
std::string Advice(bool has_generation_marks) {
  return has_generation_marks
             ? "; set data.chat_template: chatml, or data.train_on: template or all"
             : "; set data.chat_template: chatml, or data.train_on: all";
}

absl::StatusOr<TextSpan> AssistantSpan(std::string_view text, const Region& region, size_t message,
                                       std::string_view prompt,
                                       const std::vector<std::string_view>& end_tokens) {
  if (!region.found) return Undetermined(message, "nothing was written for it");
  if (!region.contiguous) return Undetermined(message, "its text is not in one place");
  const auto header_end = HeaderEnd(text, region, prompt);
  if (!header_end.has_value()) {
    return Undetermined(message, "it does not begin with the generation prompt");
  }
  const uint32_t content_end = std::max(*header_end, region.content_end);
  const auto turn_end = TurnEnd(text, content_end, region.end, end_tokens);
  if (!turn_end.has_value()) {
    return Undetermined(message, "no end-of-turn token follows its content");
  }
  return TextSpan{*header_end, *turn_end};
}

// The spans of the assistant messages `selected`, of which there is one at least.
absl::StatusOr<std::vector<TextSpan>> AssistantSpans(const std::vector<size_t>& selected,
                                                     const ChatTemplate& chat_template,
                                                     const RenderedConversation& rendered,
                                                     const Json& messages,
                                                     const RenderOptions& options,
                                                     const Tokenizer& tokenizer) {
  const auto prompt = GenerationPrompt(chat_template, rendered, messages, options);
  if (!prompt.has_value()) {
    return Undetermined(selected[0], "no generation prompt can be distinguished from its text");
  }
  const std::vector<Region> regions = FindRegions(rendered, messages.size());
  const std::vector<std::string_view> end_tokens = EndTokens(tokenizer);
  std::vector<TextSpan> spans;
  for (const size_t i : selected) {
    ASSIGN_OR_RETURN(const TextSpan span,
                     AssistantSpan(rendered.text, regions[i], i, *prompt, end_tokens));
    spans.push_back(span);
  }
  return spans;
}

}  // namespace

std::vector<WeightedSpan> MessageWeights(const RenderedConversation& rendered,
                                         const Json& messages) {
  std::vector<WeightedSpan> weights;
  for (const MessageSpan& span : rendered.message_spans) {
    const auto index = static_cast<size_t>(span.message);
    if (span.message < 0 || index >= messages.size()) continue;
    const float weight = WeightOf(messages[index]);
    if (weight == 1.0f || weight == 0.0f || span.begin >= span.end) continue;
    if (!weights.empty() && weights.back().end == span.begin && weights.back().weight == weight) {
      weights.back().end = span.end;
    } else {
      weights.push_back({span.begin, span.end, weight});
    }
  }
  return weights;
}

absl::StatusOr<std::vector<TextSpan>> TargetSpans(const ChatTemplate& chat_template,
                                                  const RenderedConversation& rendered,
                                                  const Json& messages,
                                                  const RenderOptions& options,
                                                  const Tokenizer& tokenizer, TrainOn train_on) {
  if (train_on == TrainOn::kAll) {
    return WithoutOff({{0, static_cast<uint32_t>(rendered.text.size())}}, rendered, messages);
  }
  if (train_on == TrainOn::kTemplate) {
    if (!chat_template.has_generation_marks(options)) {
      return absl::InvalidArgumentError(
          "data.train_on is template, but the chat template has no {% generation %} marks; set "
          "data.train_on: assistant, or data.chat_template to a template that has them");
    }
    return WithoutOff(rendered.generation_spans, rendered, messages);
  }
  std::vector<size_t> selected;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (IsAssistant(messages[i])) selected.push_back(i);
  }
  if (train_on == TrainOn::kLastAssistant && selected.size() > 1) {
    selected.erase(selected.begin(), selected.end() - 1);
  }
  selected.erase(std::remove_if(selected.begin(), selected.end(),
                                [&](size_t i) { return IsOff(messages[i]); }),
                 selected.end());
  if (selected.empty()) return std::vector<TextSpan>();
  absl::StatusOr<std::vector<TextSpan>> spans =
      AssistantSpans(selected, chat_template, rendered, messages, options, tokenizer);
  if (spans.ok()) return spans;
  return absl::Status(
      spans.status().code(),
      absl::StrCat(spans.status().message(), Advice(chat_template.has_generation_marks(options))));
}

}  // namespace trainerd::engine
