// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/inspect/token_texts.h"

#include "engine/cli/inspect/json_lines.h"
#include "proto/base/utf8.h"

namespace trainerd::engine {
namespace {

std::string Lossy(const std::string& bytes) {
  std::string text;
  AppendLossyUtf8(bytes, &text);
  return text;
}

// Whether `bytes` ends within a character that `next` continues.
bool IsInsideCharacter(const std::string& bytes, const std::string& next) {
  std::string text;
  size_t held = 0;
  AppendLossyUtf8(bytes, &text, &held);
  return held > 0 && Lossy(bytes) + Lossy(next) != Lossy(bytes + next);
}

}  // namespace

std::vector<TokenText> SplitIntoTexts(absl::Span<const std::string> token_bytes) {
  std::vector<TokenText> texts;
  // Of the last part.
  std::string bytes;
  for (size_t i = 0; i < token_bytes.size(); ++i) {
    const std::string& next = token_bytes[i];
    if (!texts.empty() && IsInsideCharacter(bytes, next)) {
      bytes += next;
    } else {
      texts.push_back({.begin = i});
      bytes = next;
    }
    texts.back().end = i + 1;
    texts.back().text = Lossy(bytes);
  }
  return texts;
}

std::vector<TokenText> SplitIntoTexts(absl::Span<const int32_t> ids, const Tokenizer& tokenizer) {
  std::vector<std::string> token_bytes(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) tokenizer.AppendTokenBytes(ids[i], &token_bytes[i]);
  std::vector<TokenText> texts = SplitIntoTexts(token_bytes);
  for (TokenText& part : texts) {
    for (size_t i = part.begin; i < part.end; ++i) part.special |= tokenizer.IsSpecial(ids[i]);
  }
  return texts;
}

void AppendTokenTexts(const std::vector<TokenText>& texts, std::string* line) {
  std::vector<size_t> special;
  *line += ",\"tokens\":[";
  for (const TokenText& part : texts) {
    if (part.begin > 0) *line += ',';
    AppendJsonString(part.text, line);
    for (size_t i = part.begin + 1; i < part.end; ++i) *line += ",null";
    if (part.special) special.push_back(part.begin);
  }
  *line += ']';
  if (special.empty()) return;
  *line += ",\"special\":";
  AppendJsonInts(special, line);
}

}  // namespace trainerd::engine
