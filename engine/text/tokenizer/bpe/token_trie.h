// SPDX-License-Identifier: Apache-2.0
// Longest token that a text begins with: a trie whose steps are characters, so that a text takes as
// few steps as it has characters. Tokens may begin and end within a character: anything but a whole
// character of one to three bytes is stepped over byte by byte. The first step indexes a table, the
// others go through one hash table, so that it is built in milliseconds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace trainerd::engine {

// Open addressing from non-zero 40-bit keys to 24-bit values, 8 bytes per entry.
class EdgeTable {
 public:
  static constexpr uint32_t kMissing = UINT32_MAX;

  // Room for `entries` without growing; it grows beyond.
  explicit EdgeTable(size_t entries);
  uint32_t Find(uint64_t key) const {
    for (size_t i = Slot(key);; i = (i + 1) & (entries_.size() - 1)) {
      if (entries_[i] >> 24 == key) return static_cast<uint32_t>(entries_[i] & 0xFFFFFF);
      if (entries_[i] == 0) return kMissing;
    }
  }
  // The key must be missing.
  void Insert(uint64_t key, uint32_t value);

  // Replaces each value by map(value).
  template <typename Map>
  void MapValues(const Map& map) {
    for (uint64_t& entry : entries_) {
      if (entry == 0) continue;
      entry = (entry & ~uint64_t{0xFFFFFF}) | map(static_cast<uint32_t>(entry & 0xFFFFFF));
    }
  }

 private:
  size_t Slot(uint64_t key) const { return (key * 0x9E3779B97F4A7C15u) >> shift_; }
  void Place(uint64_t entry);
  bool Fits(size_t used) const { return used * 8 <= entries_.size() * 5; }

  std::vector<uint64_t> entries_;  // key << 24 | value; 0 = free
  size_t used_ = 0;
  int shift_ = 64;
};

class TokenTrie {
 public:
  static constexpr int32_t kNone = -1;
  // Nodes of the largest trie: a token's bytes make at most one each.
  static constexpr size_t kMaxNodes = (size_t{1} << 23) - 1;

  // `tokens[id]` are the bytes of token `id`; empty = not in the trie, no two others are the same.
  // Together they may have at most kMaxNodes - tokens.size() bytes.
  explicit TokenTrie(const std::vector<std::string_view>& tokens);

  struct Match {
    int32_t id = kNone;
    uint32_t size = 0;  // bytes
  };
  // The longest token that [p, p + size) begins with. size > 0. The text may begin within a
  // character, but must end with a whole one.
  Match Longest(const char* p, size_t size) const;

  // The longest token that token `id` begins with, other than itself, or kNone.
  int32_t Shorter(int32_t id) const { return shorter_[static_cast<size_t>(id)]; }

 private:
  static constexpr uint32_t kNoNode = EdgeTable::kMissing;
  // Set in every reference to a node that nothing follows.
  static constexpr uint32_t kLeaf = uint32_t{1} << 23;

  void Insert(int32_t id, std::string_view bytes);
  void MarkLeaves();
  // The longest token made of the `depth` bytes that lead to `node` (kNoNode: none) and of a part
  // of the character of `size` bytes at `p`; or `best`.
  Match LongestCut(uint32_t node, const char* p, uint32_t depth, uint32_t size, Match best) const;
  const EdgeTable& EdgesOf(uint32_t symbol) const {
    return symbol < 0x80 ? ascii_edges_ : other_edges_;
  }
  uint32_t Child(uint32_t node, uint32_t symbol) const;

  // Nodes below num_tokens_ are the tokens themselves, the others lie within longer ones.
  uint32_t num_tokens_, num_nodes_;
  std::vector<uint32_t> first_;  // by symbol, or kNoNode
  // From node and symbol. Two tables, because a text mostly keeps to one of them, and the smaller
  // one stays in the processor's cache.
  EdgeTable ascii_edges_, other_edges_;
  std::vector<bool> has_children_;  // by node, while building
  std::vector<bool> cut_follows_;   // by node: whether a token ends within the next character
  std::vector<int32_t> shorter_;
};

}  // namespace trainerd::engine
