// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/bpe/bpe.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace trainerd::engine {
namespace {

// Words up to this many symbols are merged by scanning an array.
constexpr size_t kMaxShortSymbols = 96;

uint64_t PairHash(int32_t left, int32_t right) {
  const uint64_t key = (uint64_t{static_cast<uint32_t>(left)} << 32) | static_cast<uint32_t>(right);
  return (key ^ (key >> 29)) * 0x9E3779B97F4A7C15u;
}

}  // namespace

Bpe::Scratch::Scratch() : pairs_(std::make_unique<uint64_t[]>(size_t{1} << kPairBits)) {
  std::fill_n(pairs_.get(), size_t{1} << kPairBits, UINT64_MAX);
}

Bpe::Bpe(Options options)
    : byte_ids_(std::move(options.byte_ids)),
      unk_(options.unk),
      fuse_unk_(options.fuse_unk),
      ignore_merges_(options.ignore_merges),
      whole_words_(std::move(options.whole_words)) {
  if (options.characters.has_value()) characters_.emplace(*options.characters);
  BuildPairs(options.merges);
  BuildDerivations(options);
}

void Bpe::BuildPairs(const std::vector<Merge>& merges) {
  int bits = 4;
  while ((size_t{1} << bits) < merges.size() * 2) ++bits;
  shift_ = 64 - bits;
  pairs_.resize(size_t{1} << bits);
  const int filter_bits = bits + 3;
  filter_shift_ = 64 - filter_bits;
  pair_filter_.resize((size_t{1} << filter_bits) / 64);
  const size_t mask = pairs_.size() - 1;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& m = merges[rank];
    const uint64_t hash = PairHash(m.left, m.right);
    const uint64_t bit = hash >> filter_shift_;
    pair_filter_[bit / 64] |= uint64_t{1} << (bit % 64);
    size_t i = hash >> shift_;
    while (pairs_[i].left != kNoToken && (pairs_[i].left != m.left || pairs_[i].right != m.right)) {
      i = (i + 1) & mask;
    }
    pairs_[i] = {m.left, m.right, static_cast<uint32_t>(rank), m.merged};
  }
}

void Bpe::BuildDerivations(const Options& options) {
  const auto& bytes = options.token_bytes;
  derivations_.resize(bytes.size());
  const auto is_symbol = [this](int32_t id) {
    if (id != kNoToken) derivations_[static_cast<size_t>(id)].time = 0;
  };
  if (characters_.has_value()) {
    // Merges of the tokens of bytes are not in the bytes of a text.
    if (options.characters->whole_words) return;
    for (const auto& [code_point, id] : options.characters->ids) is_symbol(id);
  } else {
    for (const int32_t id : byte_ids_) is_symbol(id);
  }
  for (const Merge& m : options.merges) {
    Derivation& left = derivations_[static_cast<size_t>(m.left)];
    left.partners |= Partner(m.right);
    left.right_partners |= Partner64(m.right);
  }
  for (size_t id = 0; id < bytes.size(); ++id) {
    derivations_[id].left_tokens = Partner64(static_cast<int32_t>(id));
  }
  // Shorter results first, so that parts are known before the tokens made of them. If several
  // merges give one token, merging reaches the one whose parts stay separate until then.
  std::vector<uint32_t> order;
  size_t longest = 0;
  for (const std::string_view b : bytes) longest = std::max(longest, b.size());
  std::vector<uint32_t> starts(longest + 2, 0);
  const auto size_of = [&](const Merge& m) { return bytes[static_cast<size_t>(m.merged)].size(); };
  for (const Merge& m : options.merges) ++starts[size_of(m) + 1];
  for (size_t i = 1; i < starts.size(); ++i) starts[i] += starts[i - 1];
  order.resize(options.merges.size());
  for (size_t rank = 0; rank < options.merges.size(); ++rank) {
    order[starts[size_of(options.merges[rank])]++] = static_cast<uint32_t>(rank);
  }
  for (const uint32_t rank : order) {
    const Merge& m = options.merges[rank];
    Derivation& d = derivations_[static_cast<size_t>(m.merged)];
    const Derivation& left = derivations_[static_cast<size_t>(m.left)];
    const Derivation& right = derivations_[static_cast<size_t>(m.right)];
    if (d.time != kNever || left.time == kNever || right.time == kNever) continue;
    if (Find(m.left, m.right).rank != rank || MergesAcross(m.left, m.right, rank + 1)) continue;
    if (left.time > rank || right.time > rank) return;  // out of order: no trie
    d.time = rank + 1;
    d.left = m.left;
    d.right = m.right;
    // The parts are shorter and complete.
    d.left_tokens |= left.left_tokens;
    d.right_partners |= right.right_partners;
  }
  size_t nodes = bytes.size();
  for (const std::string_view b : bytes) nodes += b.size();
  if (nodes > TokenTrie::kMaxNodes) return;
  std::vector<std::string_view> reachable(bytes.size());
  token_sizes_.resize(bytes.size());
  for (size_t id = 0; id < bytes.size(); ++id) {
    if (derivations_[id].time != kNever) reachable[id] = bytes[id];
    token_sizes_[id] = static_cast<uint32_t>(bytes[id].size());
  }
  trie_ = std::make_unique<TokenTrie>(reachable);
}

Bpe::Found Bpe::Find(int32_t left, int32_t right) const {
  const uint64_t hash = PairHash(left, right);
  const uint64_t bit = hash >> filter_shift_;
  if ((pair_filter_[bit / 64] >> (bit % 64) & 1) == 0) return {kNoRank, 0};
  const size_t mask = pairs_.size() - 1;
  for (size_t i = hash >> shift_;; i = (i + 1) & mask) {
    const PairSlot& slot = pairs_[i];
    if (slot.left == left && slot.right == right) return {slot.rank, slot.merged};
    if (slot.left == kNoToken) return {kNoRank, 0};
  }
}

bool Bpe::MergesAcross(int32_t left, int32_t right, uint32_t time) const {
  // Goes back in time: of the two symbols at the boundary, the one that was made later (of two made
  // by the same merge, the right one) is split into its parts. A pair that existed merges across if
  // its merge comes before those that end it; of equal merges the left one comes first.
  uint32_t left_ends = time, right_ends = time;
  const Derivation* l = &derivations_[static_cast<size_t>(left)];
  const Derivation* r = &derivations_[static_cast<size_t>(right)];
  while (l->time != 0 || r->time != 0) {
    if (l->time > r->time) {
      left_ends = l->time;
      left = l->right;
      l = &derivations_[static_cast<size_t>(left)];
    } else {
      right_ends = r->time;
      right = r->left;
      r = &derivations_[static_cast<size_t>(right)];
    }
    if ((l->partners & Partner(right)) == 0) continue;
    const uint32_t rank = Find(left, right).rank;
    if (rank != kNoRank && rank + 1 < left_ends && rank + 1 <= right_ends) return true;
  }
  return false;
}

bool Bpe::FindWhole(std::string_view word, Scratch* scratch) const {
  if (!ignore_merges_) return false;
  const auto it = whole_words_.find(absl::string_view(word.data(), word.size()));
  if (it == whole_words_.end()) return false;
  scratch->symbols_.assign(1, {it->second, 0, static_cast<uint32_t>(word.size())});
  return true;
}

bool Bpe::MatchWord(std::string_view word, Scratch* scratch) const {
  if (trie_ == nullptr) return false;
  std::vector<BpeSymbol>& tokens = scratch->symbols_;
  tokens.clear();
  scratch->dead_ends_.clear();
  const char* p = word.data();
  const auto size = static_cast<uint32_t>(word.size());
  uint32_t at = 0;
  TokenTrie::Match match = trie_->Longest(p, size);
  const auto next_shorter = [&](int32_t id) {
    match.id = trie_->Shorter(id);
    match.size = match.id == kNoToken ? 0 : token_sizes_[static_cast<size_t>(match.id)];
  };
  while (true) {
    if (match.id == kNoToken) {
      // No token continues from here: remove the last one. With compatible tokens there is only one
      // way to each position, so it need not be tried again.
      if (tokens.empty()) return false;
      if (scratch->dead_ends_.empty()) scratch->dead_ends_.resize(size + 1);
      scratch->dead_ends_[at] = true;
      at = tokens.back().begin;
      next_shorter(tokens.back().id);
      tokens.pop_back();
      continue;
    }
    const uint32_t end = at + match.size;
    if ((!scratch->dead_ends_.empty() && scratch->dead_ends_[end]) ||
        (!tokens.empty() && !SurelyCompatible(tokens.back().id, match.id) &&
         !scratch->Compatible(tokens.back().id, match.id,
                              [&] { return Compatible(tokens.back().id, match.id); }))) {
      next_shorter(match.id);
      continue;
    }
    tokens.push_back({match.id, at, end});
    at = end;
    if (at == size) return true;
    match = trie_->Longest(p + at, size - at);
  }
}

void Bpe::EncodeWords(std::string_view text, uint32_t begin, absl::Span<const uint32_t> ends,
                      Scratch* scratch, TokenSink* out) const {
  // The cache's memory for the next words is fetched while this one is encoded.
  constexpr size_t kAhead = 4;
  WordCache& cache = scratch->words_;
  WordCache::Key keys[2 * kAhead];
  const char* text_end = text.data() + text.size();
  uint32_t ahead_begin = begin;
  size_t ahead = 0;
  for (size_t i = 0; i < ends.size(); ++i) {
    for (; ahead < ends.size() && ahead <= i + kAhead; ++ahead) {
      const std::string_view word = text.substr(ahead_begin, ends[ahead] - ahead_begin);
      ahead_begin = ends[ahead];
      if (word.size() > WordCache::kMaxBytes) continue;
      WordCache::Key& key = keys[ahead % std::size(keys)];
      key = WordCache::KeyOf(word, text_end);
      cache.Prefetch(key);
    }
    const std::string_view word = text.substr(begin, ends[i] - begin);
    const WordCache::Key& key = keys[i % std::size(keys)];
    const bool may_be_known = word.size() <= WordCache::kMaxBytes;
    if (!may_be_known || !cache.Find(key, begin, out)) {
      EncodeWord(word, scratch);
      for (const BpeSymbol& s : scratch->symbols_) out->Push(s.id, begin + s.begin, begin + s.end);
      if (may_be_known) cache.Insert(key, scratch->symbols_);
    }
    begin = ends[i];
  }
}

void Bpe::EncodeWord(std::string_view word, Scratch* scratch) const {
  if (!FindWhole(word, scratch) && !MatchWord(word, scratch)) MergeWord(word, &scratch->symbols_);
}

void Bpe::SplitBytes(std::string_view word, std::vector<BpeSymbol>* symbols) const {
  symbols->clear();
  bool after_unk = false;
  for (uint32_t i = 0; i < word.size(); ++i) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(word[i])];
    if (id != kNoToken) {
      symbols->push_back({id, i, i + 1});
      after_unk = false;
    } else if (unk_ != kNoToken) {
      if (after_unk && fuse_unk_) {
        symbols->back().end = i + 1;
      } else {
        symbols->push_back({unk_, i, i + 1});
      }
      after_unk = true;
    }
  }
}

void Bpe::MergeWord(std::string_view word, std::vector<BpeSymbol>* symbols) const {
  if (characters_.has_value()) {
    characters_->Split(word, symbols);
  } else {
    SplitBytes(word, symbols);
  }
  if (symbols->size() < 2) return;
  if (symbols->size() <= kMaxShortSymbols) {
    MergeShort(symbols);
  } else {
    MergeLong(symbols);
  }
}

void Bpe::MergeShort(std::vector<BpeSymbol>* symbols) const {
  auto& s = *symbols;
  uint32_t ranks[kMaxShortSymbols];
  int32_t merged[kMaxShortSymbols];
  size_t n = s.size();
  for (size_t i = 0; i + 1 < n; ++i) {
    const Found found = Find(s[i].id, s[i + 1].id);
    ranks[i] = found.rank;
    merged[i] = found.merged;
  }
  while (n > 1) {
    uint32_t best = kNoRank;
    for (size_t i = 0; i + 1 < n; ++i) best = std::min(best, ranks[i]);
    if (best == kNoRank) break;
    const auto at = static_cast<size_t>(std::find(ranks, ranks + n - 1, best) - ranks);
    s[at].id = merged[at];
    s[at].end = s[at + 1].end;
    std::memmove(&s[at + 1], &s[at + 2], (n - at - 2) * sizeof(BpeSymbol));
    std::memmove(&ranks[at], &ranks[at + 1], (n - at - 2) * sizeof(uint32_t));
    std::memmove(&merged[at], &merged[at + 1], (n - at - 2) * sizeof(int32_t));
    --n;
    if (at + 1 < n) {
      const Found found = Find(s[at].id, s[at + 1].id);
      ranks[at] = found.rank;
      merged[at] = found.merged;
    }
    if (at > 0) {
      const Found found = Find(s[at - 1].id, s[at].id);
      ranks[at - 1] = found.rank;
      merged[at - 1] = found.merged;
    }
  }
  s.resize(n);
}

void Bpe::MergeLong(std::vector<BpeSymbol>* symbols) const {
  auto& s = *symbols;
  constexpr uint32_t kNone = UINT32_MAX;
  const auto n = static_cast<uint32_t>(s.size());
  // Doubly linked list over the symbols; `left` and `right` of a candidate show whether it is
  // stale.
  std::vector<uint32_t> next(n), previous(n);
  for (uint32_t i = 0; i < n; ++i) {
    next[i] = i + 1 < n ? i + 1 : kNone;
    previous[i] = i > 0 ? i - 1 : kNone;
  }
  struct Candidate {
    uint32_t rank, at;
    int32_t left, right, merged;
  };
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
  };
  std::vector<Candidate> heap;
  heap.reserve(n);
  const auto find = [&](uint32_t at, Candidate* candidate) {
    if (at == kNone || next[at] == kNone) return false;
    const Found found = Find(s[at].id, s[next[at]].id);
    *candidate = {found.rank, at, s[at].id, s[next[at]].id, found.merged};
    return found.rank != kNoRank;
  };
  Candidate c;
  for (uint32_t i = 0; i + 1 < n; ++i) {
    if (find(i, &c)) heap.push_back(c);
  }
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Candidate top = heap.back();
    heap.pop_back();
    if (s[top.at].id != top.left || next[top.at] == kNone || s[next[top.at]].id != top.right) {
      continue;
    }
    const uint32_t gone = next[top.at];
    s[top.at].id = top.merged;
    s[top.at].end = s[gone].end;
    s[gone].id = kNoToken;
    next[top.at] = next[gone];
    if (next[gone] != kNone) previous[next[gone]] = top.at;
    for (const uint32_t at : {previous[top.at], top.at}) {
      if (find(at, &c)) {
        heap.push_back(c);
        std::push_heap(heap.begin(), heap.end(), later);
      }
    }
  }
  size_t out = 0;
  for (uint32_t i = 0; i != kNone; i = next[i]) s[out++] = s[i];
  s.resize(out);
}

}  // namespace trainerd::engine
