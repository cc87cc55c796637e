// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/steps/text_encoder.h"

#include <algorithm>
#include <utility>

#include "proto/base/utf8.h"

namespace trainerd::engine {

struct SourceMap {
  // Where the piece begins in the source.
  uint32_t offset = 0;
  // Changed anywhere; null: only a space was put in front.
  const NormalizedText* changed = nullptr;
  // A token that is nothing but that space has the source's bytes [offset, space_end).
  uint32_t space_end = 0;

  uint32_t Begin(uint32_t at) const {
    return offset + (changed != nullptr ? changed->source_begin[at] : at - std::min(at, 1u));
  }
  uint32_t End(uint32_t at) const {  // at > 0
    if (changed != nullptr) return offset + changed->source_end[at - 1];
    return at == 1 ? space_end : offset + at - 1;
  }
  // Of a token without bytes: a space that was put in front.
  uint32_t Empty(uint32_t at) const {
    const bool is_end = changed != nullptr && at == changed->text.size();
    return is_end ? offset + changed->source_end.back() : Begin(at);
  }

  // Maps the tokens from `first` on.
  void Map(size_t first, TokenSink* sink) const {
    for (size_t i = first; i < sink->ids.size(); ++i) {
      uint32_t &begin = sink->begin[i], &end = sink->end[i];
      if (begin == end) {
        begin = end = Empty(begin);
      } else {
        begin = Begin(begin);
        end = End(end);
      }
    }
  }
};

namespace {

uint32_t SizeOfFirst(std::string_view text) {
  int size;
  DecodeUtf8(text.data(), &size);
  return static_cast<uint32_t>(size);
}

std::string_view Part(std::string_view text, TextSpan span) {
  return text.substr(span.begin, span.end - span.begin);
}

TextSpan AllOf(std::string_view text) { return {0, static_cast<uint32_t>(text.size())}; }

// The bytes of `normalized` that came from a byte of `plain`, spans of the text in which the
// normalized piece begins at `offset`.
std::vector<TextSpan> PlainOf(const NormalizedText& normalized, uint32_t offset,
                              absl::Span<const TextSpan> plain) {
  std::vector<TextSpan> spans;
  for (uint32_t i = 0; i < normalized.text.size(); ++i) {
    const uint32_t begin = offset + normalized.source_begin[i];
    const uint32_t end = offset + normalized.source_end[i];
    const auto* span = std::upper_bound(plain.begin(), plain.end(), begin,
                                        [](uint32_t at, const TextSpan& s) { return at < s.end; });
    if (span == plain.end() || span->begin >= end) continue;
    if (!spans.empty() && spans.back().end == i) {
      spans.back().end = i + 1;
    } else {
      spans.push_back({i, i + 1});
    }
  }
  return spans;
}

}  // namespace

TextEncoder::TextEncoder(const EncoderSteps& steps, const AddedTokens& added, Bpe::Options bpe)
    : normalizer_(steps.normalizer),
      pre_tokenizer_(steps.pre_tokenizer),
      byte_level_(steps.byte_level),
      raw_tokens_(added.raw),
      normalized_tokens_(added.normalized, steps.normalizer.space_symbol()),
      bpe_(std::move(bpe)) {}

void TextEncoder::Encode(std::string_view text, absl::Span<const TextSpan> plain,
                         Scratch* scratch) const {
  scratch->raw_pieces.clear();
  raw_tokens_.Split(text, 0, static_cast<uint32_t>(text.size()), plain, &scratch->raw_pieces);
  for (const TextPiece& piece : scratch->raw_pieces) {
    if (piece.id >= 0) {
      scratch->sink.Push(piece.id, piece.begin, piece.end);
    } else {
      EncodeNormalized(text, {piece.begin, piece.end}, plain, scratch);
    }
  }
}

void TextEncoder::EncodeNormalized(std::string_view text, TextSpan piece,
                                   absl::Span<const TextSpan> plain, Scratch* scratch) const {
  const std::string_view raw = Part(text, piece);
  const Normalizer::Change change = normalizer_.ChangeOf(raw);
  if (change == Normalizer::Change::kNone) {
    EncodePiece(text, piece, /*source=*/nullptr, plain, scratch);
    return;
  }
  const size_t first = scratch->sink.ids.size();
  const bool needs_plain = !plain.empty() && !normalized_tokens_.empty();
  if (change == Normalizer::Change::kSpaceInFront && !needs_plain) {
    std::string& spaced = scratch->with_space_in_front;
    spaced.assign(1, ' ').append(raw);
    const SourceMap source{.offset = piece.begin, .space_end = piece.begin + SizeOfFirst(raw)};
    EncodePiece(spaced, AllOf(spaced), &source, plain, scratch);
    source.Map(first, &scratch->sink);
    return;
  }
  NormalizedText& n = scratch->normalized;
  normalizer_.Normalize(raw, &n);
  std::vector<TextSpan> normalized_plain;
  if (needs_plain) normalized_plain = PlainOf(n, piece.begin, plain);
  const SourceMap source{.offset = piece.begin, .changed = &n};
  EncodePiece(n.text, AllOf(n.text), &source, normalized_plain, scratch);
  source.Map(first, &scratch->sink);
}

void TextEncoder::EncodePiece(std::string_view text, TextSpan piece, const SourceMap* source,
                              absl::Span<const TextSpan> plain, Scratch* scratch) const {
  const auto pre_tokenize = [&](TextSpan part) {
    if (part.begin == part.end) return;
    const uint32_t begin = source != nullptr ? source->Begin(part.begin) : part.begin;
    PreTokenize(text, part, /*at_start=*/begin == 0, scratch);
  };
  if (normalized_tokens_.empty()) return pre_tokenize(piece);
  scratch->normalized_pieces.clear();
  normalized_tokens_.Split(text, piece.begin, piece.end, plain, &scratch->normalized_pieces);
  for (const TextPiece& part : scratch->normalized_pieces) {
    if (part.id >= 0) {
      scratch->sink.Push(part.id, part.begin, part.end);
    } else {
      pre_tokenize({part.begin, part.end});
    }
  }
}

void TextEncoder::PreTokenize(std::string_view text, TextSpan piece, bool at_start,
                              Scratch* scratch) const {
  const std::string_view symbol = pre_tokenizer_.space_symbol();
  if (!symbol.empty() && Part(text, piece).find(symbol) != std::string_view::npos) {
    const size_t first = scratch->sink.ids.size();
    NormalizedText& spaced = scratch->spaced;
    WriteSpaces(Part(text, piece), symbol, &spaced);
    PreTokenize(spaced.text, AllOf(spaced.text), at_start, scratch);
    SourceMap{.offset = piece.begin, .changed = &spaced}.Map(first, &scratch->sink);
    return;
  }
  const std::optional<size_t> space_step = pre_tokenizer_.prefix_space_step();
  if (!space_step.has_value()) return EncodeWords(text, piece, 0, scratch);
  scratch->outer_ends.clear();
  pre_tokenizer_.Split(Part(text, piece), 0, *space_step, piece.begin, &scratch->outer_ends);
  for (const uint32_t end : scratch->outer_ends) {
    EncodeOuterPiece(text, {piece.begin, end}, at_start, scratch);
    piece.begin = end;
    at_start = false;
  }
}

void TextEncoder::EncodeOuterPiece(std::string_view text, TextSpan piece, bool at_start,
                                   Scratch* scratch) const {
  const size_t first_step = *pre_tokenizer_.prefix_space_step();
  const bool gets_space = text[piece.begin] != ' ' &&
                          (at_start || pre_tokenizer_.space_in_front() == SpaceInFront::kAlways);
  if (!gets_space) return EncodeWords(text, piece, first_step, scratch);
  std::string& spaced = scratch->prefixed;
  spaced.assign(1, ' ').append(Part(text, piece));
  const size_t first = scratch->sink.ids.size();
  EncodeWords(spaced, AllOf(spaced), first_step, scratch);
  // In byte-level text the space covers no byte.
  const uint32_t covered = byte_level_ ? 0 : SizeOfFirst(Part(text, piece));
  SourceMap{.offset = piece.begin, .space_end = piece.begin + covered}.Map(first, &scratch->sink);
}

void TextEncoder::EncodeWords(std::string_view text, TextSpan piece, size_t first_step,
                              Scratch* scratch) const {
  std::vector<uint32_t>& ends = scratch->word_ends;
  ends.clear();
  pre_tokenizer_.Split(Part(text, piece), first_step, pre_tokenizer_.num_steps(), piece.begin,
                       &ends);
  if (bpe_.CutsWords()) {
    scratch->cut_ends.clear();
    uint32_t begin = piece.begin;
    for (const uint32_t end : ends) {
      bpe_.characters().CutWords(text, begin, end, &scratch->cut_ends);
      begin = end;
    }
    ends.swap(scratch->cut_ends);
  }
  bpe_.EncodeWords(text, piece.begin, ends, &scratch->bpe, &scratch->sink);
}

}  // namespace trainerd::engine
