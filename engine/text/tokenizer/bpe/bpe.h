// SPDX-License-Identifier: Apache-2.0
// Byte-pair encoding of one word (pre-token): joins, lowest rank first and leftmost among equals,
// the pairs that the merge list names. Exact like the BPE model of PyPI tokenizers.
//
// A word is first looked up in a cache of the caller. Otherwise its tokens are found by longest
// match with backtracking: merging happens independently on both sides of a token boundary as long
// as nothing merges across it, so a sequence of tokens is the result of merging exactly if each
// pair of neighbors is the result of merging their own bytes (Compatible), and there is only one
// such sequence. That holds if a merge always ranks behind those that made its parts, which is
// checked when the merges are loaded. Other files, and words with bytes that no token spells, are
// merged step by step: short words in arrays, long ones with a heap. The worst case is O(n log n).
// SentencePiece-style BPE differs in its smallest symbols alone (characters.h).
// Source of the idea: github/rust-gems, crate bpe ("appending encoder", backtracking).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "engine/text/tokenizer/bpe/characters.h"
#include "engine/text/tokenizer/bpe/token_trie.h"
#include "engine/text/tokenizer/bpe/word_cache.h"

namespace trainerd::engine {

class Bpe {
 public:
  static constexpr int32_t kNoToken = -1;

  struct Merge {
    int32_t left, right, merged;
  };

  // `token_bytes[id]` are the bytes of token `id`, empty for one that is not made of symbols; they
  // are read during construction. Merges are in order of rank; if a pair occurs twice the
  // later rank counts, as in the reference. `byte_ids[b]` is the token of byte b or kNoToken; `unk`
  // replaces such bytes, and `fuse_unk` joins adjacent ones; without `unk` they are dropped.
  struct Options {
    std::vector<std::string_view> token_bytes;
    std::vector<Merge> merges;
    std::vector<int32_t> byte_ids;
    int32_t unk = kNoToken;
    bool fuse_unk = false;
    // Characters are the smallest symbols, instead of bytes; byte_ids, unk and fuse_unk are then
    // not read.
    std::optional<Characters::Options> characters;
    // Words that are tokens themselves stay whole, whatever the merges are.
    bool ignore_merges = false;
    // Bytes → token, for ignore_merges alone. The keys must outlive the Bpe.
    absl::flat_hash_map<absl::string_view, int32_t> whole_words;
  };
  explicit Bpe(Options options);

  // A thread's cache of earlier words, and its work space. For one Bpe.
  class Scratch;

  // Appends the tokens of the words of `text` that end at `ends`; the first begins at `begin`.
  // Thread-safety: const, with one Scratch per thread.
  void EncodeWords(std::string_view text, uint32_t begin, absl::Span<const uint32_t> ends,
                   Scratch* scratch, TokenSink* out) const;

  // Whether CutWords of characters() gives the tokens of a word.
  bool CutsWords() const { return characters_.has_value() && !ignore_merges_; }
  const Characters& characters() const { return *characters_; }

 private:
  struct PairSlot {
    int32_t left = kNoToken, right = kNoToken;
    uint32_t rank = 0;
    int32_t merged = 0;
  };
  struct Found {
    uint32_t rank;
    int32_t merged;
  };
  // How merging makes a token of its bytes, and what a merge across its left or right boundary
  // could join: the token, or one of its parts at that boundary.
  struct alignas(32) Derivation {
    // The rank of the last merge plus 1; 0 for a single byte; kNever if merging the token's bytes
    // gives something else.
    uint32_t time = kNever;
    int32_t left = kNoToken, right = kNoToken;
    uint32_t partners = 0;  // Partner() of each token that a merge joins to its right
    // Partner64() of each token at the left boundary.
    uint64_t left_tokens = 0;
    // Partner64() of each token that a merge joins to one at the right boundary.
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
  // Whether a merge joins the end of `left` to the start of `right`, each of which is merged by
  // itself until `time`; the pair itself is not considered.
  bool MergesAcross(int32_t left, int32_t right, uint32_t time) const;
  // Whether no pair of tokens at the boundary of these two is a merge. False: unknown.
  bool SurelyCompatible(int32_t left, int32_t right) const {
    return (derivations_[static_cast<size_t>(left)].right_partners &
            derivations_[static_cast<size_t>(right)].left_tokens) == 0;
  }
  // Whether merging the bytes of both gives both.
  bool Compatible(int32_t left, int32_t right) const {
    return ((derivations_[static_cast<size_t>(left)].partners & Partner(right)) == 0 ||
            Find(left, right).rank == kNoRank) &&
           !MergesAcross(left, right, kNever);
  }
  // The tokens of `word` into scratch->symbols. FindWhole and MatchWord: false if undecided.
  void EncodeWord(std::string_view word, Scratch* scratch) const;
  bool FindWhole(std::string_view word, Scratch* scratch) const;
  bool MatchWord(std::string_view word, Scratch* scratch) const;
  void MergeWord(std::string_view word, std::vector<BpeSymbol>* symbols) const;
  // The symbols of `word` before any merge, where they are bytes.
  void SplitBytes(std::string_view word, std::vector<BpeSymbol>* symbols) const;
  void MergeShort(std::vector<BpeSymbol>* symbols) const;
  void MergeLong(std::vector<BpeSymbol>* symbols) const;

  std::vector<PairSlot> pairs_;  // open addressing, a power of two
  int shift_ = 0;
  std::vector<uint64_t> pair_filter_;  // one bit per hash: most pairs are no merge
  int filter_shift_ = 0;
  std::vector<Derivation> derivations_;  // by token
  std::unique_ptr<TokenTrie> trie_;      // null: merge step by step
  std::vector<uint32_t> token_sizes_;
  std::vector<int32_t> byte_ids_;
  std::optional<Characters> characters_;
  int32_t unk_;
  bool fuse_unk_, ignore_merges_;
  absl::flat_hash_map<absl::string_view, int32_t> whole_words_;
};

class Bpe::Scratch {
 public:
  Scratch();

 private:
  friend class Bpe;
  static constexpr int kPairBits = 15;

  // Whether two tokens are compatible, computed by `find` once for each frequent pair.
  // Ids are below 2^24.
  template <typename Find>
  bool Compatible(int32_t left, int32_t right, const Find& find) {
    const uint64_t pair =
        uint64_t{static_cast<uint32_t>(left)} << 24 | static_cast<uint32_t>(right);
    uint64_t& known = pairs_[(pair * 0x9E3779B97F4A7C15u) >> (64 - kPairBits)];
    if (known >> 1 != pair) known = pair << 1 | (find() ? 1u : 0u);
    return (known & 1) != 0;
  }

  WordCache words_;
  std::unique_ptr<uint64_t[]> pairs_;  // left << 25 | right << 1 | fits
  std::vector<BpeSymbol> symbols_;
  std::vector<bool> dead_ends_;  // positions of a word from which no token sequence continues
};

}  // namespace trainerd::engine
