// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/bpe/token_trie.h"

#include <algorithm>
#include <utility>

namespace trainerd::engine {
namespace {

// A step: a whole character of one to three bytes is its code point; a byte of anything else is a
// code point that no character has (a surrogate).
constexpr uint32_t kByteSymbols = 0xD800;
constexpr size_t kSymbols = 0x10000;

struct Symbol {
  uint32_t value;
  uint32_t size;  // bytes
};

uint32_t ByteSymbol(char c) { return kByteSymbols | static_cast<uint8_t>(c); }

bool Continues(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

// The symbol at `p` of any bytes, p < end. A token's symbols are those of a text that begins with
// the token, but for a character that the token ends within.
inline Symbol SymbolAt(const char* p, const char* end) {
  const uint32_t a = static_cast<uint8_t>(p[0]);
  if (a < 0x80) return {a, 1};
  if ((a & 0xE0) == 0xC0 && end - p >= 2 && Continues(p[1])) {
    const uint32_t c = (a & 0x1F) << 6 | (static_cast<uint8_t>(p[1]) & 0x3Fu);
    if (c >= 0x80) return {c, 2};
  }
  if ((a & 0xF0) == 0xE0 && end - p >= 3 && Continues(p[1]) && Continues(p[2])) {
    const uint32_t c = (a & 0x0F) << 12 | (static_cast<uint8_t>(p[1]) & 0x3Fu) << 6 |
                       (static_cast<uint8_t>(p[2]) & 0x3Fu);
    if (c >= 0x800 && (c & 0xF800) != 0xD800) return {c, 3};
  }
  return {ByteSymbol(p[0]), 1};
}

// Never 0.
uint64_t EdgeKey(uint32_t node, uint32_t symbol) {
  return uint64_t{1} << 39 | uint64_t{node} << 16 | symbol;
}

}  // namespace

EdgeTable::EdgeTable(size_t entries) {
  int bits = 4;
  while (entries * 8 > (size_t{5} << bits)) ++bits;
  entries_.resize(size_t{1} << bits);
  shift_ = 64 - bits;
}

void EdgeTable::Place(uint64_t entry) {
  size_t i = Slot(entry >> 24);
  while (entries_[i] != 0) i = (i + 1) & (entries_.size() - 1);
  entries_[i] = entry;
}

void EdgeTable::Insert(uint64_t key, uint32_t value) {
  if (!Fits(++used_)) {
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
      first_(kSymbols, kNoNode),
      ascii_edges_(tokens.size()),
      other_edges_(tokens.size() / 4),
      has_children_(tokens.size(), false),
      cut_follows_(tokens.size(), false),
      shorter_(tokens.size(), kNone) {
  // Shorter tokens first: a token's node is made when it is inserted, and is found by longer ones.
  size_t longest = 0;
  for (const std::string_view t : tokens) longest = std::max(longest, t.size());
  std::vector<uint32_t> starts(longest + 2, 0), order(tokens.size());
  for (const std::string_view t : tokens) ++starts[t.size() + 1];
  for (size_t i = 1; i < starts.size(); ++i) starts[i] += starts[i - 1];
  for (uint32_t id = 0; id < num_tokens_; ++id) order[starts[tokens[id].size()]++] = id;
  for (const uint32_t id : order) {
    if (!tokens[id].empty()) Insert(static_cast<int32_t>(id), tokens[id]);
  }
  MarkLeaves();
}

void TokenTrie::Insert(int32_t id, std::string_view bytes) {
  const char* p = bytes.data();
  const char* end = p + bytes.size();
  const auto own_node = static_cast<uint32_t>(id);
  Match shorter;
  uint32_t node = kNoNode;
  while (true) {
    const Symbol symbol = SymbolAt(p, end);
    const bool is_last = p + symbol.size == end;
    if (symbol.size > 1 && (node == kNoNode || cut_follows_[node])) {
      shorter = LongestCut(node, p, /*depth=*/0, symbol.size, shorter);
    }
    uint32_t child = Child(node, symbol.value);
    if (child == kNoNode) {
      child = is_last ? own_node : num_nodes_++;
      if (child >= num_tokens_) {
        has_children_.push_back(false);
        cut_follows_.push_back(false);
      }
      if (node == kNoNode) {
        first_[symbol.value] = child;
      } else {
        (symbol.value < 0x80 ? ascii_edges_ : other_edges_)
            .Insert(EdgeKey(node, symbol.value), child);
        has_children_[node] = true;
        // A lead byte without its character.
        const auto byte = static_cast<uint8_t>(*p);
        if (symbol.size == 1 && byte >= 0xC0 && byte < 0xF0) cut_follows_[node] = true;
      }
    }
    if (is_last) break;
    if (child < num_tokens_) shorter.id = static_cast<int32_t>(child);
    node = child;
    p += symbol.size;
  }
  shorter_[own_node] = shorter.id;
}

uint32_t TokenTrie::Child(uint32_t node, uint32_t symbol) const {
  return node == kNoNode ? first_[symbol] : EdgesOf(symbol).Find(EdgeKey(node, symbol));
}

void TokenTrie::MarkLeaves() {
  const auto mark = [this](uint32_t node) { return has_children_[node] ? node : node | kLeaf; };
  ascii_edges_.MapValues(mark);
  other_edges_.MapValues(mark);
  for (uint32_t& node : first_) {
    if (node != kNoNode) node = mark(node);
  }
  std::vector<bool>().swap(has_children_);
}

TokenTrie::Match TokenTrie::LongestCut(uint32_t node, const char* p, uint32_t depth, uint32_t size,
                                       Match best) const {
  for (uint32_t i = 0; i + 1 < size; ++i) {
    node = Child(node, ByteSymbol(p[i]));
    if (node == kNoNode) break;
    const uint32_t index = node & ~kLeaf;
    if (index < num_tokens_) best = {static_cast<int32_t>(index), depth + i + 1};
    if ((node & kLeaf) != 0) break;
  }
  return best;
}

TokenTrie::Match TokenTrie::Longest(const char* p, size_t size) const {
  const char* begin = p;
  const char* end = p + size;
  const auto depth = [&] { return static_cast<uint32_t>(p - begin); };
  Symbol symbol = SymbolAt(p, end);
  const uint32_t first_size = symbol.size;
  Match best;
  for (uint32_t node = first_[symbol.value]; node != kNoNode;) {
    const uint32_t index = node & ~kLeaf;
    p += symbol.size;
    if (index < num_tokens_) best = {static_cast<int32_t>(index), depth()};
    if (p == end || (node & kLeaf) != 0) break;
    symbol = SymbolAt(p, end);
    if (symbol.size > 1 && cut_follows_[index]) {
      best = LongestCut(index, p, depth(), symbol.size, best);
    }
    node = EdgesOf(symbol.value).Find(EdgeKey(index, symbol.value));
  }
  if (best.id == kNone && first_size > 1) best = LongestCut(kNoNode, begin, 0, first_size, best);
  return best;
}

}  // namespace trainerd::engine
