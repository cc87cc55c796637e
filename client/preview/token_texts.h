// SPDX-License-Identifier: Apache-2.0
// Token ids → text, and which tokens stand for which part of it. Decoding gives text for lists of
// tokens only, in which a token that is part of a character comes out as U+FFFD; here the tokens of
// such a character are found and kept together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace trainerd::client {

struct DecodedTokens {
  std::string text;      // UTF-8; bytes that are none are U+FFFD
  bool special = false;  // one of the tokens is one that the tokenizer flags special
};
// Each list of token ids → its text.
using DecodeTokens = std::function<absl::StatusOr<std::vector<DecodedTokens>>(
    const std::vector<std::vector<int64_t>>&)>;

// `decode`, which is not called for no lists; an error where it gives another number of texts than
// lists.
absl::StatusOr<std::vector<DecodedTokens>> DecodeLists(
    const DecodeTokens& decode, const std::vector<std::vector<int64_t>>& lists);

// What one token stands for; where a character is spread over several tokens, what all of them
// stand for.
struct TokenText {
  size_t begin = 0;  // tokens [begin, end) of their list
  size_t end = 0;
  DecodedTokens decoded;
};

// For each list its parts, which cover it in order; their texts joined are the text of the list.
// Calls `decode` three times at most, for all lists at once.
absl::StatusOr<std::vector<std::vector<TokenText>>> SplitIntoTexts(
    const std::vector<std::vector<int64_t>>& lists, const DecodeTokens& decode);

}  // namespace trainerd::client
