// SPDX-License-Identifier: Apache-2.0
// Text to tokens: added tokens, then the normalizer, normalized added tokens, the pre-tokenizer and
// BPE. Where a step changes the text, the offsets of the tokens are mapped back.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "engine/text/tokenizer/bpe/bpe.h"
#include "engine/text/tokenizer/bpe/pre_tokenizer.h"
#include "engine/text/tokenizer/steps/added_tokens.h"
#include "engine/text/tokenizer/steps/normalizer.h"
#include "engine/text/unicode/text_span.h"

namespace trainerd::engine {

struct EncoderSteps {
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  // Words are made of bytes, spelled as printable characters; else of characters.
  bool byte_level = false;
};

// A position in a changed text → in the text before the change.
struct SourceMap;

class TextEncoder {
 public:
  // Added tokens as they are in the text, and as they are in the normalized text.
  struct AddedTokens {
    std::vector<AddedTokenMatcher::Pattern> raw, normalized;
  };
  TextEncoder(const EncoderSteps& steps, const AddedTokens& added, Bpe::Options bpe);

  // The work space of one call; kept for the next call, because the word cache is warm.
  struct Scratch {
    Bpe::Scratch bpe;
    TokenSink sink;
    std::vector<TextPiece> raw_pieces, normalized_pieces;
    NormalizedText normalized, spaced;
    std::vector<uint32_t> outer_ends, word_ends, cut_ends;
    std::string with_space_in_front, prefixed;
  };

  // Appends the tokens of `text` (valid UTF-8) to scratch->sink. No special token is found that
  // touches a span of `plain` (tokenizer.h, EncodeWithPlainText).
  // Thread-safety: const, with one Scratch per thread.
  void Encode(std::string_view text, absl::Span<const TextSpan> plain, Scratch* scratch) const;

 private:
  // Text between added tokens.
  void EncodeNormalized(std::string_view text, TextSpan piece, absl::Span<const TextSpan> plain,
                        Scratch* scratch) const;
  // Normalized text. `source` maps `text` to the one that was given; null = it is that text.
  void EncodePiece(std::string_view text, TextSpan piece, const SourceMap* source,
                   absl::Span<const TextSpan> plain, Scratch* scratch) const;
  // Text between normalized added tokens. `at_start`: the text that was given begins with it.
  void PreTokenize(std::string_view text, TextSpan piece, bool at_start, Scratch* scratch) const;
  // A piece that may get a space in front.
  void EncodeOuterPiece(std::string_view text, TextSpan piece, bool at_start,
                        Scratch* scratch) const;
  // The steps of the pre-tokenizer from `first_step` on, and BPE.
  void EncodeWords(std::string_view text, TextSpan piece, size_t first_step,
                   Scratch* scratch) const;

  const Normalizer normalizer_;
  const PreTokenizer pre_tokenizer_;
  const bool byte_level_;
  const AddedTokenMatcher raw_tokens_, normalized_tokens_;
  const Bpe bpe_;
};

}  // namespace trainerd::engine
