// SPDX-License-Identifier: Apache-2.0
// Adds the tokens that the files beside tokenizer.json name to those of tokenizer.json.
// Source: transformers 5.23, tokenization_utils_tokenizers.py, TokenizersBackend.__init__.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "engine/text/tokenizer/tokenizer_config.h"
#include "engine/text/tokenizer/vocabulary.h"

namespace trainerd::engine {

class ConfigTokens {
 public:
  // `model_tokens`: as in TokenizerFile. `vocabulary` and `added` outlive this object.
  ConfigTokens(int64_t model_tokens, Vocabulary* vocabulary, std::vector<AddedToken>* added)
      : model_tokens_(model_tokens), vocabulary_(*vocabulary), added_(*added) {}

  // The flags of added_tokens_decoder win. A token that is missing gets the next free id. A token
  // with a name is special. Errors: InvalidArgument if the next id is taken or too large.
  absl::Status Add(const TokenizerConfig& config);

  // Tokens of tokenizer.json that are special there and not in added_tokens_decoder: Decode still
  // skips them, as in the reference.
  const absl::flat_hash_set<int32_t>& once_special() const { return once_special_; }

 private:
  // Adds one token, or replaces the flags of the added token with its content.
  absl::Status AddToken(AddedToken token);

  const int64_t model_tokens_;
  Vocabulary& vocabulary_;
  std::vector<AddedToken>& added_;
  absl::flat_hash_map<std::string, size_t> by_content_;  // index into added_
  absl::flat_hash_set<int32_t> once_special_;
};

}  // namespace trainerd::engine
