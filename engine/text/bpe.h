// SPDX-License-Identifier: Apache-2.0
// Byte-pair encoding of one word (pre-token): joins, lowest rank first and leftmost among equals,
// the pairs that the merge list names. Exact like the BPE model of PyPI tokenizers.
//
// A word is looked up in a cache of the caller's first. If not there, its tokens are found by
// longest match with backtracking: merging happens independently on both sides of a token boundary
// as long as nothing merges across it, so a sequence of tokens is the result of merging exactly if
// each two neighbours are the result of merging their own bytes (Compatible), and only one sequence
// is. That holds where a merge always ranks behind those that made its parts, which is checked when
// the merges are loaded; other files, and words with bytes that no token spells, are merged step by
// step: short words in arrays, long ones with a heap. The worst case is O(n log n).
// Source of the idea: github/rust-gems, crate bpe ("appending encoder", backtracking).
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "engine/text/token_trie.h"

namespace trainerd::engine {

// Where tokens of a text go. Offsets count from the start of the text.
struct TokenSink {
  std::vector<int32_t> ids;
  std::vector<uint32_t> begin, end;

  void Push(int32_t id, uint32_t token_begin, uint32_t token_end) {
    ids.push_back(id);
    begin.push_back(token_begin);
    end.push_back(token_end);
  }
};

// A run of bytes [begin, end) of a word on its way to a token.
struct BpeSymbol {
  int32_t id;
  uint32_t begin, end;
};

// Recently merged words, and scratch space for merging. One thread at a time.
class WordCache {
 public:
  static constexpr size_t kMaxBytes = 16, kMaxTokens = 3;

  struct Entry {
    uint64_t key[2];
    int32_t ids[kMaxTokens];
    uint8_t bytes : 5, tokens : 3;  // bytes == 0: unused
    uint8_t ends[kMaxTokens];       // of each token, from the start of the word
  };
  static_assert(sizeof(Entry) == 32, "two entries a cache line");

  WordCache();

  // Scratch of Bpe::EncodeWords: the word's tokens, and places that no tokens lead on from.
  std::vector<BpeSymbol> symbols;
  std::vector<bool> dead_ends;

  // A word of at most kMaxBytes as zero-padded integers, and a hash of it.
  struct Key {
    uint64_t bytes[2];
    uint64_t hash;
  };
  // The text may be read up to `readable_end`.
  static Key KeyOf(std::string_view word, const char* readable_end);
  // Two entries, of which the first is the one that was used more.
  Entry* set(const Key& key) { return entries_.get() + 2 * (key.hash >> (64 - kSetBits)); }

 private:
  static constexpr int kSetBits = 15;
  std::unique_ptr<Entry[]> entries_;
};

class Bpe {
 public:
  static constexpr int32_t kNoToken = -1;

  struct Merge {
    int32_t left, right, merged;
  };

  // `token_bytes[id]` are the bytes of token `id`, empty for one that is not made of byte symbols;
  // they are read during construction. Merges in order of rank; when a pair occurs twice the later
  // rank counts, as in the reference. `byte_ids[b]` is the token of byte b or kNoToken; `unk`
  // stands for such bytes, and `fuse_unk` joins neighbours of them; without `unk` they are dropped.
  struct Options {
    std::vector<std::string_view> token_bytes;
    std::vector<Merge> merges;
    std::vector<int32_t> byte_ids;
    int32_t unk = kNoToken;
    bool fuse_unk = false;
    // Words that are tokens as they are stay whole, whatever the merges say.
    bool ignore_merges = false;
    // Bytes → token, for ignore_merges alone. The keys must outlive the Bpe.
    absl::flat_hash_map<absl::string_view, int32_t> whole_words;
  };
  explicit Bpe(Options options);

  // Appends the tokens of the words of `text` that end at `ends`; the first begins at `begin`.
  // Thread-safety: const, with one cache a thread.
  void EncodeWords(std::string_view text, uint32_t begin, absl::Span<const uint32_t> ends,
                   WordCache* cache, TokenSink* out) const;

 private:
  // `word` starts at byte `offset` of its text. The key is that of a word that may be cached.
  void EncodeWord(std::string_view word, uint32_t offset, const WordCache::Key& key,
                  WordCache* cache, TokenSink* out) const;

  struct PairSlot {
    int32_t left = kNoToken, right = kNoToken;
    uint32_t rank = 0;
    int32_t merged = 0;
  };
  struct Found {
    uint32_t rank;
    int32_t merged;
  };
  // How merging makes a token of its bytes. `time` is the rank of the last merge plus 1; 0 for a
  // single byte; kNever if merging its bytes gives something else.
  struct Derivation {
    uint32_t time = kNever;
    int32_t left = kNoToken, right = kNoToken;
    uint32_t partners = 0;  // Partner() of each token that a merge joins to its right
  };
  // What a merge across the boundary to the left or right of a token could join: the token, or one
  // that it is made of and that lies at that boundary.
  struct Boundary {
    // Partner64() of each of them on the left.
    uint64_t left_tokens = 0;
    // Partner64() of each token that a merge joins to one on the right.
    uint64_t right_partners = 0;
  };
  static uint64_t Partner64(int32_t right) {
    return uint64_t{1} << ((static_cast<uint32_t>(right) * 0x9E3779B1u) >> 26);
  }
  // One of 32 bits for a token as the right part of a merge.
  static uint32_t Partner(int32_t right) {
    return uint32_t{1} << ((static_cast<uint32_t>(right) * 0x9E3779B1u) >> 27);
  }
  static constexpr uint32_t kNever = UINT32_MAX;
  static constexpr uint32_t kNoRank = UINT32_MAX;

  void BuildPairs(const std::vector<Merge>& merges);
  void BuildDerivations(const Options& options);
  Found Find(int32_t left, int32_t right) const;
  // Whether a merge joins the end of `left` to the start of `right`, of which each is merged by
  // itself until `time`; the pair itself is not looked at.
  bool MergesAcross(int32_t left, int32_t right, uint32_t time) const;
  // Whether no pair of tokens at the boundary of these two is a merge. False: perhaps.
  bool SurelyCompatible(int32_t left, int32_t right) const {
    return (boundaries_[static_cast<size_t>(left)].right_partners &
            boundaries_[static_cast<size_t>(right)].left_tokens) == 0;
  }
  // Whether merging the bytes of both gives both.
  bool Compatible(int32_t left, int32_t right) const {
    return ((derivations_[static_cast<size_t>(left)].partners & Partner(right)) == 0 ||
            Find(left, right).rank == kNoRank) &&
           !MergesAcross(left, right, kNever);
  }
  // The tokens of `word` into cache->symbols. FindWhole and MatchWord: false if they cannot tell.
  bool FindWhole(std::string_view word, WordCache* cache) const;
  bool MatchWord(std::string_view word, WordCache* cache) const;
  void MergeWord(std::string_view word, std::vector<BpeSymbol>* symbols) const;
  void MergeShort(std::vector<BpeSymbol>* symbols) const;
  void MergeLong(std::vector<BpeSymbol>* symbols) const;

  std::vector<PairSlot> pairs_;  // open addressing, a power of two
  int shift_ = 0;
  std::vector<uint64_t> pair_filter_;  // one bit a hash: most pairs are no merge
  int filter_shift_ = 0;
  std::vector<Derivation> derivations_;  // by token
  std::vector<Boundary> boundaries_;     // by token
  std::unique_ptr<TokenTrie> trie_;      // null: merge step by step
  std::vector<uint32_t> token_sizes_;
  std::vector<int32_t> byte_ids_;
  int32_t unk_;
  bool fuse_unk_, ignore_merges_;
  absl::flat_hash_map<absl::string_view, int32_t> whole_words_;
};

}  // namespace trainerd::engine
