// SPDX-License-Identifier: Apache-2.0
// The SentencePiece tokenizer of a GGUF file ("tokenizer.ggml.model": "llama") as BPE with merges.
// No LibTorch.
#pragma once

#include "absl/status/statusor.h"
#include "engine/formats/gguf/gguf_value.h"
#include "engine/model/gguf/imported_tokens.h"

namespace trainerd::engine {

// Two neighbors merge if their texts make a token, those of the token with the highest score first:
// the merges are in the order of the scores. Errors: NotFound and InvalidArgument name the key.
absl::StatusOr<TokenizerParts> SentencePieceParts(const GgufMetadata& metadata,
                                                  const ImportedTokens& tokens);

}  // namespace trainerd::engine
