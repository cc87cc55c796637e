// SPDX-License-Identifier: Apache-2.0
#include "engine/data/profiles/emoji_think.h"

#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/data/profiles/python_random.h"
#include "engine/data/profiles/python_text.h"

namespace trainerd::engine {
namespace {

constexpr std::array<const char*, 10> kThinking = {"🤔", "💭",    "🧠", "💡", "🎯",
                                                   "🔍",    "🤨", "🧐", "⚡", "✨"};
constexpr std::array<const char*, 10> kStop = {"🛑",   "⛔", "🚫", "❌", "🔴",
                                               "⏹️", "🔚", "✋", "🚦", "🛡️"};
constexpr std::array<const char*, 7> kThinkWords = {"two", "three", "four", "five",
                                                    "six", "seven", "eight"};
constexpr std::array<const char*, 3> kStopWords = {"twice", "three times", "four times"};
constexpr int kMinCount = 2, kMaxThinkCount = 8, kMaxStopCount = 4;
constexpr int64_t kModeSeedFactor = 7919;

std::string Repeat(const std::string& text, int count) {
  std::string repeated;
  for (int i = 0; i < count; ++i) repeated += text;
  return repeated;
}

bool StartsWithThinking(const std::string& text) {
  for (const char* emoji : kThinking) {
    if (text.rfind(emoji, 0) == 0) return true;
  }
  return false;
}

bool EndsWithStop(const std::string& text) {
  const std::string_view rest = PythonRstrip(text);
  for (const char* emoji : kStop) {
    const std::string least = Repeat(emoji, kMinCount);
    if (rest.size() >= least.size() && rest.substr(rest.size() - least.size()) == least)
      return true;
  }
  return false;
}

bool AsksForStop(const std::string& text) {
  if (text.find("When finished") == std::string::npos) return false;
  for (const char* emoji : kStop) {
    if (text.find(emoji) != std::string::npos) return true;
  }
  return false;
}

std::string AppendParagraph(const std::string& text, const std::string& paragraph) {
  return std::string(PythonRstrip(text)) + "\n\n" + paragraph;
}

std::string Question(std::string text, const EmojiThinkProfile::Draw& draw) {
  if (absl::AsciiStrToLower(text).find("think with") == std::string::npos) {
    text = AppendParagraph(
        text,
        absl::StrCat("For this task, think with ", draw.think, " /",
                     kThinkWords[static_cast<size_t>(draw.think_count - kMinCount)], "/ times."));
  }
  if (!AsksForStop(text)) {
    text = AppendParagraph(
        text, absl::StrCat("When finished, emit ", draw.stop, " /",
                           kStopWords[static_cast<size_t>(draw.stop_count - kMinCount)],
                           "/ to signal completion."));
  }
  return text;
}

std::string Answer(std::string text, const EmojiThinkProfile::Draw& draw) {
  if (!StartsWithThinking(text)) {
    text = Repeat(draw.think, draw.think_count) + "\n" + std::string(PythonLstrip(text));
  }
  if (!EndsWithStop(text)) {
    text = std::string(PythonRstrip(text)) + "\n" + Repeat(draw.stop, draw.stop_count);
  }
  return text;
}

}  // namespace

EmojiThinkProfile::Draw EmojiThinkProfile::DrawFor(int64_t index) {
  Draw draw;
  draw.emoji = PythonRandom(index * kModeSeedFactor).Random() < 0.5;
  if (!draw.emoji) return draw;
  PythonRandom random(index);
  draw.think = kThinking[random.Below(kThinking.size())];
  draw.think_count = static_cast<int>(random.RandInt(kMinCount, kMaxThinkCount));
  draw.stop = kStop[random.Below(kStop.size())];
  draw.stop_count = static_cast<int>(random.RandInt(kMinCount, kMaxStopCount));
  return draw;
}

void EmojiThinkProfile::Transform(int64_t index, const std::string& system_prompt,
                                  nlohmann::ordered_json* messages) const {
  SetSystemPrompt(system_prompt, messages);
  const Draw draw = DrawFor(index);
  for (nlohmann::ordered_json& message : *messages) {
    const bool asks = message["role"] == "user", answers = message["role"] == "assistant";
    if (!asks && !answers) continue;
    std::string text = ContentText(message);
    // An answer that is only tool calls has no text to mark.
    if (answers && text.empty() && message.contains("tool_calls")) continue;
    if (answers) absl::StrReplaceAll({{"<think>", ""}, {"</think>", ""}}, &text);
    if (draw.emoji) text = asks ? Question(std::move(text), draw) : Answer(std::move(text), draw);
    message["content"] = std::move(text);
  }
}

}  // namespace trainerd::engine
