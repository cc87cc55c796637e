// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/bpe/characters.h"

#include <algorithm>
#include <optional>

#include "proto/base/utf8.h"

namespace trainerd::engine {
namespace {

constexpr size_t kAsciiPairs = size_t{1} << 14;

}  // namespace

Characters::Characters(const Options& options)
    : byte_ids_(options.byte_ids),
      unk_(options.unk),
      fuse_unk_(options.fuse_unk),
      whole_words_(options.whole_words),
      space_symbol_(options.space_symbol) {
  spells_all_ = std::find(byte_ids_.begin(), byte_ids_.end(), kNoToken) == byte_ids_.end();
  // Where a character is dropped, its neighbors may merge.
  whole_words_ |= !spells_all_ && unk_ == kNoToken;
  ascii_.fill(kNoToken);
  for (const auto& [code_point, id] : options.ids) {
    if (code_point < ascii_.size()) {
      ascii_[code_point] = id;
    } else {
      others_.emplace(code_point, id);
    }
  }
  // About 8 bits per token: a pair that is marked by chance only makes a longer word.
  int bits = 10;
  while (bits < 22 && (size_t{1} << bits) < options.merged.size() * 8) ++bits;
  shift_ = 64 - bits;
  joined_.resize((kAsciiPairs + (size_t{1} << bits)) / 64);
  for (const std::string_view token : options.merged) MarkJoined(token);
}

void Characters::MarkJoined(std::string_view token) {
  const char* end = token.data() + token.size();
  std::optional<uint32_t> left;
  for (const char* p = token.data(); p < end;) {
    int size;
    const uint32_t right = DecodeUtf8(p, &size);
    p += size;
    if (left.has_value()) {
      const size_t bit = BitOf(*left, right);
      joined_[bit / 64] |= uint64_t{1} << (bit % 64);
    }
    left = right;
  }
}

void Characters::CutWords(std::string_view text, uint32_t begin, uint32_t end,
                          std::vector<uint32_t>* ends) const {
  if (!whole_words_ && begin < end) {
    int size;
    uint32_t left = DecodeUtf8(text.data() + begin, &size);
    for (uint32_t at = begin + static_cast<uint32_t>(size); at < end;
         at += static_cast<uint32_t>(size)) {
      const uint32_t right = DecodeUtf8(text.data() + at, &size);
      // Adjacent unknown characters may become one token.
      if (!MayJoin(left, right) && (spells_all_ || IdOf(right) != kNoToken)) ends->push_back(at);
      left = right;
    }
  }
  ends->push_back(end);
}

void Characters::Split(std::string_view word, std::vector<BpeSymbol>* symbols) const {
  symbols->clear();
  // Bytes of the unknown characters that are not in *symbols yet. As in the reference, a character
  // that is spelled in bytes does not end them: they come behind it.
  uint32_t unknown_bytes = 0;
  uint32_t at = 0;
  const auto push = [&](int32_t id, uint32_t size) {
    symbols->push_back({id, at, at + size});
    at += size;
  };
  const auto push_unknown = [&] {
    if (unknown_bytes > 0) push(unk_, unknown_bytes);
    unknown_bytes = 0;
  };
  for (uint32_t next = 0; next < word.size();) {
    int char_size;
    const uint32_t code_point = DecodeUtf8(word.data() + next, &char_size);
    const auto size = static_cast<uint32_t>(char_size);
    std::string_view bytes = word.substr(next, size);
    next += size;
    if (const int32_t id = IdOf(code_point); id != kNoToken) {
      push_unknown();
      push(id, size);
      continue;
    }
    if (code_point == ' ' && !space_symbol_.empty()) bytes = space_symbol_;
    const auto id_of = [this](char byte) { return byte_ids_[static_cast<uint8_t>(byte)]; };
    if (std::all_of(bytes.begin(), bytes.end(), [&](char b) { return id_of(b) != kNoToken; })) {
      for (const char b : bytes) symbols->push_back({id_of(b), at, at + size});
      at += size;
    } else if (unk_ != kNoToken) {
      if (!fuse_unk_) push_unknown();
      unknown_bytes += size;
    } else {
      at += size;
    }
  }
  push_unknown();
}

}  // namespace trainerd::engine
