// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/vocabulary.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/text/tokenizer/bpe/byte_level.h"

namespace trainerd::engine {
namespace {

constexpr size_t kBlockBytes = size_t{1} << 18;

}  // namespace

Vocabulary Vocabulary::OfCharacters(std::string_view space_symbol) {
  Vocabulary vocabulary;
  vocabulary.byte_level_ = false;
  vocabulary.space_symbol_ = space_symbol;
  return vocabulary;
}

void Vocabulary::Reserve(size_t tokens) {
  entries_.reserve(tokens);
  ids_.reserve(tokens);
}

std::string_view Vocabulary::Store(std::string_view bytes) {
  if (bytes.size() > block_left_) {
    block_left_ = std::max(kBlockBytes, bytes.size());
    blocks_.emplace_back(new char[block_left_]);
    block_next_ = blocks_.back().get();
  }
  std::memcpy(block_next_, bytes.data(), bytes.size());
  const std::string_view stored(block_next_, bytes.size());
  block_next_ += bytes.size();
  block_left_ -= bytes.size();
  return stored;
}

bool Vocabulary::Add(std::string_view spelling, int32_t id) {
  if (Has(id)) return false;
  Entry entry;
  entry.is_used = true;
  entry.spelling = Store(spelling);
  if (!ids_.emplace(absl::string_view(entry.spelling.data(), entry.spelling.size()), id).second) {
    return false;
  }
  if (id >= size()) entries_.resize(static_cast<size_t>(id) + 1);
  entries_[static_cast<size_t>(id)] = entry;
  SetMeaning(id, entry.spelling);
  return true;
}

bool Vocabulary::AppendMeaning(std::string_view spelling, std::string* bytes) const {
  if (byte_level_) return AppendSpelledBytes(spelling, bytes);
  if (!space_symbol_.empty() && spelling.find(' ') != std::string_view::npos) return false;
  const absl::string_view text(spelling.data(), spelling.size());
  absl::StrAppend(bytes, space_symbol_.empty() ? std::string(text)
                                               : absl::StrReplaceAll(text, {{space_symbol_, " "}}));
  return true;
}

void Vocabulary::SetMeaning(int32_t id, std::string_view spelling) {
  Entry& entry = entries_[static_cast<size_t>(id)];
  std::string bytes;
  entry.spells_bytes = AppendMeaning(spelling, &bytes);
  if (!entry.spells_bytes) bytes = spelling;
  // Plain ASCII spells itself: no second copy.
  entry.bytes = bytes != entry.spelling ? Store(bytes) : entry.spelling;
}

}  // namespace trainerd::engine
