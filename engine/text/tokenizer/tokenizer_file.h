// SPDX-License-Identifier: Apache-2.0
// Reads tokenizer.json into the parts of Tokenizer, and refuses unsupported features by JSON path.
// Format: PyPI tokenizers' serialization (models/bpe, added_vocabulary, pre_tokenizers).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/text/tokenizer/bpe/bpe.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "engine/text/tokenizer/tokenizer_steps.h"
#include "engine/text/tokenizer/vocabulary.h"

namespace trainerd::engine {

struct TokenizerFile {
  Vocabulary vocabulary;
  Bpe::Options bpe;
  EncoderSteps steps;
  TokenDecoder decoder;
  std::vector<AddedToken> added_tokens;
  int64_t model_tokens = 0;             // of `vocabulary`, without the added ones
  std::vector<int32_t> prefix, suffix;  // what the post-processor puts around a text
};

// The id that the reference gives an added token that is not in the vocabulary, whatever its id in
// the file: after the model's tokens and the tokens added so far.
int32_t NextAddedId(int64_t model_tokens, const std::vector<AddedToken>& added);

// Parses the content of tokenizer.json. Errors: InvalidArgument for malformed content,
// Unimplemented for what is not supported; both name the JSON path.
absl::StatusOr<TokenizerFile> ParseTokenizerFile(std::string_view json);

}  // namespace trainerd::engine
