// SPDX-License-Identifier: Apache-2.0
// What the readers of the tokenizers in GGUF files share. No LibTorch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/gguf/token_type.h"

namespace trainerd::engine {

// The tokens of a GGUF file, without those at the end that only pad the embedding. They differ and
// are UTF-8.
struct ImportedTokens {
  std::vector<std::string_view> texts;
  std::vector<int64_t> types;
  // The tokens from here on are added ones, which the vocabulary of tokenizer.json omits.
  size_t vocabulary_end = 0;

  bool Is(size_t id, GgufTokenType type) const { return types[id] == static_cast<int64_t>(type); }
  bool IsAdded(size_t id) const {
    return Is(id, GgufTokenType::kControl) || Is(id, GgufTokenType::kUserDefined) ||
           Is(id, GgufTokenType::kUnknown);
  }
};

// Parts of tokenizer.json.
struct TokenizerParts {
  nlohmann::ordered_json normalizer, pre_tokenizer, decoder;
  // "merges", "unk_token", "fuse_unk", "byte_fallback", "ignore_merges".
  nlohmann::ordered_json model;
  // Whether a text begins with the BOS token, unless the file decides.
  bool adds_bos = false;
};

}  // namespace trainerd::engine
