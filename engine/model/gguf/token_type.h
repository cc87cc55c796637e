// SPDX-License-Identifier: Apache-2.0
// The tokens of GGUF files: their types, and how SentencePiece vocabularies spell a space.
// Source: the GGUF specification, "tokenizer.ggml.token_type".
#pragma once

#include <cstdint>

namespace trainerd::engine {

// "▁".
inline constexpr char kSpaceSymbol[] = "\xE2\x96\x81";

enum class GgufTokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  // Special: decoding drops it.
  kControl = 3,
  // Added, but not special.
  kUserDefined = 4,
  // A row of the embedding without a token.
  kUnused = 5,
  kByte = 6,
};

}  // namespace trainerd::engine
