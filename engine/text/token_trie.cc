// SPDX-License-Identifier: Apache-2.0
#include "engine/text/token_trie.h"

#include <algorithm>
#include <utility>

namespace trainerd::engine {
namespace {

uint32_t TwoBytes(const char* p) {
  return uint32_t{static_cast<uint8_t>(p[0])} << 8 | static_cast<uint8_t>(p[1]);
}

bool StartsCharacterOfThree(char c) { return (static_cast<uint8_t>(c) & 0xF0) == 0xE0; }
bool Continues(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

// Code point of the character of three bytes at `p`.
uint32_t ThreeBytes(const char* p) {
  return (uint32_t{static_cast<uint8_t>(p[0])} & 0x0F) << 12 |
         (uint32_t{static_cast<uint8_t>(p[1])} & 0x3F) << 6 |
         (uint32_t{static_cast<uint8_t>(p[2])} & 0x3F);
}

// Keys are never 0: the code point of a character of three bytes is at least 0x800, and node 0 with
// byte 0 is told apart by the bit above both.
uint64_t ByteKey(uint32_t node, uint8_t byte) {
  return uint64_t{1} << 39 | uint64_t{node} << 8 | byte;
}
uint64_t CharacterKey(uint32_t node, uint32_t code_point) {
  return uint64_t{node} << 16 | code_point;
}

}  // namespace

void EdgeTable::Place(uint64_t entry) {
  size_t i = Slot(entry >> 24);
  while (entries_[i] != 0) i = (i + 1) & (entries_.size() - 1);
  entries_[i] = entry;
}

void EdgeTable::Insert(uint64_t key, uint32_t value) {
  if (++used_ * 2 > entries_.size()) {
    const std::vector<uint64_t> old =
        std::exchange(entries_, std::vector<uint64_t>(entries_.size() * 2));
    --shift_;
    for (const uint64_t entry : old) {
      if (entry != 0) Place(entry);
    }
  }
  Place(key << 24 | value);
}

TokenTrie::TokenTrie(const std::vector<std::string_view>& tokens)
    : num_tokens_(static_cast<uint32_t>(tokens.size())),
      num_nodes_(num_tokens_),
      one_byte_(256, kNone),
      two_bytes_(65536, kNoNode),
      characters_(65536, kNoNode),
      has_children_(tokens.size(), false),
      shorter_(tokens.size(), kNone) {
  // Shorter tokens first: a token's node is made when it is inserted, and is found by longer ones.
  size_t longest = 0;
  for (const std::string_view t : tokens) longest = std::max(longest, t.size());
  std::vector<std::vector<int32_t>> by_size(longest + 1);
  for (size_t id = 0; id < tokens.size(); ++id) {
    by_size[tokens[id].size()].push_back(static_cast<int32_t>(id));
  }
  for (size_t size = 1; size <= longest; ++size) {
    for (const int32_t id : by_size[size]) Insert(id, tokens[static_cast<size_t>(id)]);
  }
  MarkLeaves();
}

uint32_t TokenTrie::Step(uint32_t node, uint8_t byte) {
  const uint32_t found = byte_edges_.Find(ByteKey(node, byte));
  if (found != EdgeTable::kMissing) return found;
  const uint32_t child = num_nodes_++;
  byte_edges_.Insert(ByteKey(node, byte), child);
  has_children_[node] = true;
  has_children_.push_back(false);
  return child;
}

void TokenTrie::Insert(int32_t id, std::string_view bytes) {
  const char* p = bytes.data();
  const size_t size = bytes.size();
  const auto own_node = static_cast<uint32_t>(id);
  int32_t& first = one_byte_[static_cast<uint8_t>(p[0])];
  if (size == 1) {
    first = id;
    return;
  }
  int32_t shorter = first;
  uint32_t& second = two_bytes_[TwoBytes(p)];
  if (second == kNoNode) {
    second = size == 2 ? own_node : num_nodes_++;
    if (second != own_node) has_children_.push_back(false);
  }
  uint32_t node = second;
  uint32_t character_node = kNoNode;  // after the characters of three bytes that `bytes` begin with
  size_t character_end = 0;
  for (size_t i = 2; i < size; ++i) {
    if (node < num_tokens_) shorter = static_cast<int32_t>(node);
    uint32_t child;
    if (i + 1 == size) {
      child = own_node;
      byte_edges_.Insert(ByteKey(node, static_cast<uint8_t>(p[i])), child);
      has_children_[node] = true;
    } else {
      child = Step(node, static_cast<uint8_t>(p[i]));
    }
    node = child;
    if (i != character_end + 2 || !StartsCharacterOfThree(p[i - 2]) || !Continues(p[i - 1]) ||
        !Continues(p[i])) {
      continue;
    }
    if (i == 2) {
      characters_[ThreeBytes(p)] = node;
    } else {
      const uint64_t key = CharacterKey(character_node, ThreeBytes(p + i - 2));
      if (character_edges_.Find(key) == EdgeTable::kMissing) character_edges_.Insert(key, node);
    }
    character_node = node;
    character_end = i + 1;
  }
  shorter_[static_cast<size_t>(id)] = shorter;
}

void TokenTrie::MarkLeaves() {
  const auto mark = [this](uint32_t node) { return has_children_[node] ? node : node | kLeaf; };
  byte_edges_.MapValues(mark);
  character_edges_.MapValues(mark);
  for (std::vector<uint32_t>* table : {&two_bytes_, &characters_}) {
    for (uint32_t& node : *table) {
      if (node != kNoNode) node = mark(node);
    }
  }
  std::vector<bool>().swap(has_children_);
}

int32_t TokenTrie::LongestByBytes(uint32_t node, size_t depth, const char* p, size_t size,
                                  int32_t best) const {
  while (node != kNoNode) {
    const uint32_t index = node & ~kLeaf;
    if (index < num_tokens_) best = static_cast<int32_t>(index);
    if (depth == size || (node & kLeaf) != 0) break;
    node = byte_edges_.Find(ByteKey(index, static_cast<uint8_t>(p[depth++])));
  }
  return best;
}

int32_t TokenTrie::Longest(const char* p, size_t size) const {
  const int32_t first = one_byte_[static_cast<uint8_t>(p[0])];
  if (size == 1) return first;
  uint32_t node = StartsCharacterOfThree(p[0]) ? characters_[ThreeBytes(p)] : kNoNode;
  if (node == kNoNode) return LongestByBytes(two_bytes_[TwoBytes(p)], 2, p, size, first);
  // By whole characters as far as they are tokens; from there on byte by byte.
  size_t depth = 3;
  while ((node & kLeaf) == 0 && node < num_tokens_ && depth < size &&
         StartsCharacterOfThree(p[depth])) {
    const uint32_t next = character_edges_.Find(CharacterKey(node, ThreeBytes(p + depth)));
    if (next == EdgeTable::kMissing || (next & ~kLeaf) >= num_tokens_) break;
    node = next;
    depth += 3;
  }
  if ((node & ~kLeaf) < num_tokens_) return LongestByBytes(node, depth, p, size, kNone);
  return LongestByBytes(two_bytes_[TwoBytes(p)], 2, p, size, first);
}

}  // namespace trainerd::engine
