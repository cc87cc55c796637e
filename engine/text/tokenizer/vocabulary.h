// SPDX-License-Identifier: Apache-2.0
// Token spellings (as in tokenizer.json) and the bytes that they stand for, by id and by spelling.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace trainerd::engine {

// Returned views are valid as long as the vocabulary, also after a move.
class Vocabulary {
 public:
  // Spellings in byte-level symbols.
  Vocabulary() = default;
  // Spellings in characters. `space_symbol` spells a space, which no other character then does;
  // "": a space spells itself.
  static Vocabulary OfCharacters(std::string_view space_symbol);

  bool byte_level() const { return byte_level_; }
  std::string_view space_symbol() const { return space_symbol_; }

  void Reserve(size_t tokens);

  // False if the spelling or the id is in use already. `spelling` must be UTF-8.
  bool Add(std::string_view spelling, int32_t id);

  // Makes token `id` stand for what `spelling` stands for, without changing its own spelling.
  void SetMeaning(int32_t id, std::string_view spelling);

  int32_t IdOf(std::string_view spelling) const {  // -1 = none
    const auto it = ids_.find(absl::string_view(spelling.data(), spelling.size()));
    return it != ids_.end() ? it->second : -1;
  }
  // Starts to fetch what IdOf will need.
  void Prefetch(std::string_view spelling) const {
    ids_.prefetch(absl::string_view(spelling.data(), spelling.size()));
  }
  bool Has(int32_t id) const { return At(id).is_used; }
  std::string_view Spelling(int32_t id) const { return At(id).spelling; }  // "" = none
  // The bytes that the token stands for in a text; the spelling itself if it contains a character
  // that spells none.
  std::string_view Bytes(int32_t id) const { return At(id).bytes; }
  bool SpellsBytes(int32_t id) const { return At(id).spells_bytes; }

  int64_t size() const { return static_cast<int64_t>(entries_.size()); }  // highest id + 1
  int64_t num_tokens() const { return static_cast<int64_t>(ids_.size()); }

 private:
  struct Entry {
    std::string_view spelling, bytes;
    bool spells_bytes = false, is_used = false;
  };
  const Entry& At(int32_t id) const {
    static constexpr Entry kNone;
    return id >= 0 && id < size() ? entries_[static_cast<size_t>(id)] : kNone;
  }
  std::string_view Store(std::string_view bytes);
  // Appends what a spelling stands for. False if a character spells nothing.
  bool AppendMeaning(std::string_view spelling, std::string* bytes) const;

  bool byte_level_ = true;
  std::string space_symbol_;
  std::vector<std::unique_ptr<char[]>> blocks_;
  size_t block_left_ = 0;
  char* block_next_ = nullptr;
  std::vector<Entry> entries_;
  absl::flat_hash_map<absl::string_view, int32_t> ids_;
};

}  // namespace trainerd::engine
