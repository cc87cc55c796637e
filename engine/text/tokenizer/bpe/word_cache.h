// SPDX-License-Identifier: Apache-2.0
// Words whose tokens are known: text repeats most of its words. Two tables, because most words are
// short and their entries should share cache lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/types/span.h"

namespace trainerd::engine {

// Tokens of a text with the bytes [begin, end) that each came from.
struct TokenSink {
  std::vector<int32_t> ids;
  std::vector<uint32_t> begin, end;

  void Push(int32_t id, uint32_t token_begin, uint32_t token_end) {
    ids.push_back(id);
    begin.push_back(token_begin);
    end.push_back(token_end);
  }
};

// Bytes [begin, end) of a word on their way to a token.
struct BpeSymbol {
  int32_t id;
  uint32_t begin, end;
};

// One thread at a time.
class WordCache {
 public:
  static constexpr size_t kMaxBytes = 32;

  // A word of at most kMaxBytes as zero-padded integers, and a hash of it.
  struct Key {
    uint64_t bytes[4] = {};
    uint64_t hash = 0;
    size_t size = 0;
  };
  // The text may be read up to `readable_end`.
  static Key KeyOf(std::string_view word, const char* readable_end);

  WordCache();

  // Lets the processor fetch what Find will read.
  void Prefetch(const Key& key) const {
    __builtin_prefetch(IsShort(key) ? static_cast<const void*>(short_.set(key))
                                    : static_cast<const void*>(long_.set(key)));
  }
  // Appends the tokens of the word, which begins at byte `offset` of its text; false if they are
  // not known.
  bool Find(const Key& key, uint32_t offset, TokenSink* out) {
    return IsShort(key) ? short_.Find(key, offset, out) : long_.Find(key, offset, out);
  }
  // Stores the tokens of a word that was not found, unless there are too many or a byte of the word
  // belongs to none.
  void Insert(const Key& key, absl::Span<const BpeSymbol> tokens);

 private:
  template <size_t kIntegers, size_t kMaxTokens>
  struct Entry {
    static constexpr size_t kTokens = kMaxTokens;
    uint64_t key[kIntegers];
    int32_t ids[kMaxTokens];
    uint8_t tokens;            // 0: unused
    uint8_t ends[kMaxTokens];  // of each token, from the start of the word

    bool Holds(const Key& other) const {
      for (size_t i = 0; i < kIntegers; ++i) {
        if (key[i] != other.bytes[i]) return false;
      }
      // The size distinguishes a word from the same word followed by zeros.
      return tokens != 0 && ends[tokens - 1] == other.size;
    }
  };

  // Sets of two entries, of which the first is the one that was used more.
  template <typename Entry, int kSetBits>
  class Table {
   public:
    Table() : entries_(std::make_unique<Entry[]>(size_t{2} << kSetBits)) {}
    Entry* set(const Key& key) const { return entries_.get() + 2 * (key.hash >> (64 - kSetBits)); }

    bool Find(const Key& key, uint32_t offset, TokenSink* out) {
      Entry* entry = set(key);
      if (!entry[0].Holds(key)) {
        if (!entry[1].Holds(key)) return false;
        std::swap(entry[0], entry[1]);
      }
      uint32_t begin = 0;
      for (size_t i = 0; i < entry->tokens; ++i) {
        out->Push(entry->ids[i], offset + begin, offset + entry->ends[i]);
        begin = entry->ends[i];
      }
      return true;
    }
    void Insert(const Key& key, absl::Span<const BpeSymbol> tokens);

   private:
    std::unique_ptr<Entry[]> entries_;
  };

  using ShortEntry = Entry<2, 3>;
  using LongEntry = Entry<4, 6>;
  static_assert(sizeof(ShortEntry) == 32 && sizeof(LongEntry) == 64, "whole cache lines");
  static bool IsShort(const Key& key) { return key.size <= sizeof(ShortEntry::key); }

  Table<ShortEntry, 15> short_;
  Table<LongEntry, 13> long_;
};

}  // namespace trainerd::engine
