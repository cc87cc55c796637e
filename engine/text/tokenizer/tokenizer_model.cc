// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/tokenizer_model.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/text/tokenizer/bpe/byte_level.h"
#include "engine/text/tokenizer/steps/normalizer.h"
#include "engine/text/tokenizer/tokenizer_json.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "proto/base/utf8.h"

namespace trainerd::engine {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;
using tokenizer_json::BoolOr;
using tokenizer_json::IsNull;
using tokenizer_json::LargestIdFor;
using tokenizer_json::Malformed;
using tokenizer_json::StringOr;
using tokenizer_json::Unsupported;

constexpr size_t kMergesAhead = 16;

absl::Status ParseVocabulary(const object& model, Vocabulary* vocabulary) {
  object vocab;
  if (model["vocab"].get(vocab) != simdjson::SUCCESS) {
    return Malformed("$.model.vocab", "expected an object of token to id");
  }
  const auto num_tokens = static_cast<int64_t>(vocab.size());
  const int64_t largest = LargestIdFor(num_tokens);
  vocabulary->Reserve(vocab.size() + 1024);
  for (const auto [key, value] : vocab) {
    int64_t id;
    if (value.get(id) != simdjson::SUCCESS || id < 0 || id > largest) {
      return Malformed(absl::StrCat("$.model.vocab[\"", std::string(key), "\"]"),
                       absl::StrCat("expected a token id, 0 to ", largest, " in a vocabulary of ",
                                    Counted(num_tokens, "token")));
    }
    if (!vocabulary->Add(key, static_cast<int32_t>(id))) {
      return Malformed(absl::StrCat("$.model.vocab[\"", std::string(key), "\"]"),
                       "this token or its id occurs twice");
    }
  }
  return absl::OkStatus();
}

// A merge is "left right" or ["left", "right"].
bool MergeParts(const element& merge, std::string_view* left, std::string_view* right) {
  std::string_view text;
  if (merge.get(text) == simdjson::SUCCESS) {
    const size_t space = text.find(' ');
    if (space == std::string_view::npos) return false;
    *left = text.substr(0, space);
    *right = text.substr(space + 1);
    return right->find(' ') == std::string_view::npos;
  }
  array pair;
  if (merge.get(pair) != simdjson::SUCCESS) return false;
  auto it = pair.begin();
  if (it == pair.end() || (*it).get(*left) != simdjson::SUCCESS) return false;
  ++it;
  if (it == pair.end() || (*it).get(*right) != simdjson::SUCCESS) return false;
  ++it;
  return !(it != pair.end());
}

// The token that is spelled `left` `right`, looked for at `guess` first: most vocabularies are
// numbered in the order of their merges.
int32_t IdOfJoined(const Vocabulary& vocabulary, std::string_view left, std::string_view right,
                   int32_t guess) {
  // Empty: there is no such id, or an empty token, which is not worth guessing.
  const std::string_view guessed = vocabulary.Spelling(guess);
  if (!guessed.empty() && guessed.size() == left.size() + right.size() &&
      guessed.substr(0, left.size()) == left && guessed.substr(left.size()) == right) {
    return guess;
  }
  return vocabulary.IdOf(std::string(left).append(right));
}

absl::Status ParseMerges(const object& model, const Vocabulary& vocabulary,
                         std::vector<Bpe::Merge>* merges) {
  array list;
  if (model["merges"].get(list) != simdjson::SUCCESS) {
    return Malformed("$.model.merges", "expected a list");
  }
  const size_t count = list.size();
  merges->reserve(count);
  struct Parts {
    std::string_view left, right;
  };
  // A few merges at a time, so that the memory that the look-ups of one wait for is fetched while
  // others are looked up.
  std::array<Parts, kMergesAhead> parts;
  auto next = list.begin();
  for (size_t first = 0; first < count; first += kMergesAhead) {
    const size_t here = std::min(kMergesAhead, count - first);
    for (size_t i = 0; i < here; ++i, ++next) {
      if (!MergeParts(*next, &parts[i].left, &parts[i].right)) {
        return Malformed(absl::StrCat("$.model.merges[", first + i, "]"),
                         "expected \"left right\" or [\"left\", \"right\"]");
      }
      vocabulary.Prefetch(parts[i].left);
      vocabulary.Prefetch(parts[i].right);
    }
    for (size_t i = 0; i < here; ++i) {
      const auto& [left, right] = parts[i];
      const int32_t guess = merges->empty() ? 0 : merges->back().merged + 1;
      const Bpe::Merge m{vocabulary.IdOf(left), vocabulary.IdOf(right),
                         IdOfJoined(vocabulary, left, right, guess)};
      if (m.left < 0 || m.right < 0 || m.merged < 0) {
        return Malformed(absl::StrCat("$.model.merges[", first + i, "]"),
                         "names a token that $.model.vocab does not have");
      }
      merges->push_back(m);
    }
  }
  return absl::OkStatus();
}

// The token of each byte: a byte-level symbol, or "<0x0A>" with `byte_fallback`.
std::vector<int32_t> ByteIds(const Vocabulary& vocabulary, bool byte_fallback) {
  std::vector<int32_t> ids(256, Bpe::kNoToken);
  for (int byte = 0; byte < 256; ++byte) {
    std::string symbol;
    if (vocabulary.byte_level()) {
      AppendUtf8(ByteSymbol(static_cast<uint8_t>(byte)), &symbol);
    } else if (byte_fallback) {
      symbol = absl::StrFormat("<0x%02X>", byte);
    }
    if (!symbol.empty()) ids[static_cast<size_t>(byte)] = vocabulary.IdOf(symbol);
  }
  return ids;
}

Characters::Options CharactersOf(const Vocabulary& vocabulary, const Bpe::Options& bpe) {
  Characters::Options options{.unk = bpe.unk,
                              .fuse_unk = bpe.fuse_unk,
                              .space_symbol = std::string(vocabulary.space_symbol())};
  std::copy_n(bpe.byte_ids.begin(), options.byte_ids.size(), options.byte_ids.begin());
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string_view bytes = bpe.token_bytes[static_cast<size_t>(id)];
    if (!IsOneCharacter(bytes)) continue;
    int size;
    options.ids.emplace_back(DecodeUtf8(bytes.data(), &size), id);
  }
  absl::flat_hash_set<int32_t> not_characters(bpe.byte_ids.begin(), bpe.byte_ids.end());
  not_characters.insert(bpe.unk);
  not_characters.erase(Bpe::kNoToken);
  for (const Bpe::Merge& merge : bpe.merges) {
    options.whole_words |=
        not_characters.contains(merge.left) || not_characters.contains(merge.right);
    options.merged.push_back(bpe.token_bytes[static_cast<size_t>(merge.merged)]);
  }
  return options;
}

}  // namespace

absl::Status ParseTokenizerModel(const element& root, Vocabulary* vocabulary, Bpe::Options* bpe) {
  object model;
  if (root["model"].get(model) != simdjson::SUCCESS) {
    return Malformed("$.model", "expected an object");
  }
  const std::string_view type = StringOr(model, "type", "BPE");
  if (type != "BPE") return Unsupported("$.model.type", type);
  double dropout;
  if (!IsNull(model, "dropout") &&
      (model["dropout"].get(dropout) != simdjson::SUCCESS || dropout != 0)) {
    return Unsupported("$.model.dropout", "random merging");
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!IsNull(model, key) && !StringOr(model, key, "?").empty()) {
      return Unsupported(absl::StrCat("$.model.", key), "a marker around sub-words");
    }
  }
  const bool byte_fallback = BoolOr(model, "byte_fallback", false);
  if (byte_fallback && vocabulary->byte_level()) {
    return Unsupported("$.model.byte_fallback", "byte fallback of byte-level text");
  }
  RETURN_IF_ERROR(ParseVocabulary(model, vocabulary));
  RETURN_IF_ERROR(ParseMerges(model, *vocabulary, &bpe->merges));
  const Vocabulary& v = *vocabulary;
  bpe->token_bytes.resize(static_cast<size_t>(v.size()));
  for (int32_t id = 0; id < v.size(); ++id) {
    if (v.SpellsBytes(id)) bpe->token_bytes[static_cast<size_t>(id)] = v.Bytes(id);
  }
  if (!IsNull(model, "unk_token")) {
    bpe->unk = vocabulary->IdOf(StringOr(model, "unk_token", ""));
    if (bpe->unk < 0 && !StringOr(model, "unk_token", "").empty()) {
      return Malformed("$.model.unk_token", "is not in $.model.vocab");
    }
  }
  bpe->fuse_unk = BoolOr(model, "fuse_unk", false);
  bpe->byte_ids = ByteIds(v, byte_fallback);
  if (!v.byte_level()) bpe->characters = CharactersOf(v, *bpe);
  bpe->ignore_merges = BoolOr(model, "ignore_merges", false);
  if (bpe->ignore_merges) {
    bpe->whole_words.reserve(static_cast<size_t>(v.size()));
    for (int32_t id = 0; id < v.size(); ++id) {
      if (!v.SpellsBytes(id)) continue;
      bpe->whole_words.emplace(absl::string_view(v.Bytes(id).data(), v.Bytes(id).size()), id);
    }
  }
  return absl::OkStatus();
}

}  // namespace trainerd::engine
