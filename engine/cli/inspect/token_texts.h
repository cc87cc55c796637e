// SPDX-License-Identifier: Apache-2.0
// Which tokens spell which part of a text. A token may be a part of a character; the tokens of such
// a character are kept together.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "proto/contract/job/preview_text.h"

namespace trainerd::engine {

// Parts that cover the tokens, in order. The texts of the parts, joined, are the text of all
// tokens. `stream` has the functions of DecodeStream, for this kind of token.
template <typename Token, typename Stream>
std::vector<TokenText> SplitStream(absl::Span<const Token> tokens, Stream stream) {
  std::vector<TokenText> texts;
  for (size_t i = 0; i < tokens.size(); ++i) {
    std::string earlier, text;
    const bool continues = stream.Append(tokens[i], &earlier, &text);
    if (!texts.empty()) texts.back().text += earlier;
    if (texts.empty() || !continues) texts.push_back({.begin = i});
    texts.back().end = i + 1;
    texts.back().text += text;
  }
  if (!texts.empty()) stream.Finish(&texts.back().text);
  return texts;
}

// The same for token ids; marks the special tokens.
std::vector<TokenText> SplitIntoTexts(absl::Span<const int32_t> ids, const Tokenizer& tokenizer);

// Appends `,"tokens":[…]`, and `,"special":[…]` if any token is special. "tokens" has one element
// per token: its text, or null if it continues the character that an earlier token began. "special"
// holds the positions of special tokens.
void AppendTokenTexts(const std::vector<TokenText>& texts, std::string* line);

}  // namespace trainerd::engine
