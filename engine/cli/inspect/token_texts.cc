// SPDX-License-Identifier: Apache-2.0
#include "engine/cli/inspect/token_texts.h"

#include "engine/cli/inspect/json_lines.h"

namespace trainerd::engine {
std::vector<TokenText> SplitIntoTexts(absl::Span<const int32_t> ids, const Tokenizer& tokenizer) {
  std::vector<TokenText> texts = SplitStream(ids, DecodeStream(tokenizer));
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
