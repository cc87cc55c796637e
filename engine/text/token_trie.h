// SPDX-License-Identifier: Apache-2.0
// Longest token that a text begins with. A trie over bytes in which characters of three bytes (most
// of CJK, Thai, Hindi …) are one step where tokens hold them whole: the first two bytes, or the
// first such character, index a table, the rest goes through hash tables, so that it is built in
// milliseconds and its hot part stays small.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace trainerd::engine {

// Open addressing from non-zero 40-bit keys to 24-bit values, 8 bytes an entry.
class EdgeTable {
 public:
  static constexpr uint32_t kMissing = UINT32_MAX;

  EdgeTable() : entries_(size_t{1} << kFirstBits) {}
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
  static constexpr int kFirstBits = 12;

  size_t Slot(uint64_t key) const { return (key * 0x9E3779B97F4A7C15u) >> shift_; }
  void Place(uint64_t entry);

  std::vector<uint64_t> entries_;  // key << 24 | value; 0 = free
  size_t used_ = 0;
  int shift_ = 64 - kFirstBits;
};

class TokenTrie {
 public:
  static constexpr int32_t kNone = -1;
  // Nodes of the largest trie: a token's bytes make at most one each.
  static constexpr size_t kMaxNodes = (size_t{1} << 23) - 1;

  // `tokens[id]` are the bytes of token `id`; empty = not in the trie. Together they may have at
  // most kMaxNodes - tokens.size() bytes.
  explicit TokenTrie(const std::vector<std::string_view>& tokens);

  // The longest token that [p, p + size) begins with, or kNone. size > 0. The text may begin within
  // a character, but must end with a whole one.
  int32_t Longest(const char* p, size_t size) const;

  // The longest token that token `id` begins with, other than itself, or kNone.
  int32_t Shorter(int32_t id) const { return shorter_[static_cast<size_t>(id)]; }

 private:
  static constexpr uint32_t kNoNode = UINT32_MAX;
  // Set in every reference to a node that nothing follows.
  static constexpr uint32_t kLeaf = uint32_t{1} << 23;

  void Insert(int32_t id, std::string_view bytes);
  uint32_t Step(uint32_t node, uint8_t byte);
  void MarkLeaves();
  // The longest token at or below `node`, which `depth` bytes lead to, byte by byte; or `best`.
  int32_t LongestByBytes(uint32_t node, size_t depth, const char* p, size_t size,
                         int32_t best) const;

  // Nodes below num_tokens_ are the tokens themselves, the others lie within longer ones.
  uint32_t num_tokens_, num_nodes_;
  std::vector<int32_t> one_byte_;     // token of one byte, or kNone
  std::vector<uint32_t> two_bytes_;   // node after two bytes, or kNoNode
  std::vector<uint32_t> characters_;  // node after one character of three bytes, or kNoNode
  EdgeTable byte_edges_;              // node << 8 | byte
  EdgeTable character_edges_;         // node << 16 | code point
  std::vector<bool> has_children_;    // by node, while building
  std::vector<int32_t> shorter_;
};

}  // namespace trainerd::engine
