// SPDX-License-Identifier: Apache-2.0
#include "engine/model/gguf/import_sentencepiece.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kScoresKey[] = "tokenizer.ggml.scores";
// A longer token is never made by merges, so that a damaged file costs no time.
constexpr size_t kMaxMergedBytes = 512;

struct Merge {
  size_t left = 0, right = 0, token = 0;
};

bool BeginsCharacter(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; }

// The pairs of tokens that make a token, by falling scores of the token, then of its parts.
std::vector<Merge> MergesOf(const ImportedTokens& tokens, const std::vector<double>& scores) {
  absl::flat_hash_map<std::string_view, size_t> ids;
  for (size_t id = 0; id < tokens.vocabulary_end; ++id) {
    if (tokens.Is(id, GgufTokenType::kNormal)) ids.emplace(tokens.texts[id], id);
  }
  std::vector<Merge> merges;
  for (size_t id = 0; id < tokens.vocabulary_end; ++id) {
    const std::string_view text = tokens.texts[id];
    if (!tokens.Is(id, GgufTokenType::kNormal) || text.size() > kMaxMergedBytes) continue;
    for (size_t i = 1; i < text.size(); ++i) {
      if (!BeginsCharacter(text[i])) continue;
      const auto left = ids.find(text.substr(0, i)), right = ids.find(text.substr(i));
      if (left != ids.end() && right != ids.end())
        merges.push_back({left->second, right->second, id});
    }
  }
  std::stable_sort(merges.begin(), merges.end(), [&](const Merge& a, const Merge& b) {
    if (scores[a.token] != scores[b.token]) return scores[a.token] > scores[b.token];
    if (a.token != b.token) return a.token < b.token;
    if (scores[a.left] != scores[b.left]) return scores[a.left] > scores[b.left];
    return scores[a.right] > scores[b.right];
  });
  return merges;
}

Json Replace(const char* from, const char* to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

}  // namespace

absl::StatusOr<TokenizerParts> SentencePieceParts(const GgufMetadata& metadata,
                                                  const ImportedTokens& tokens) {
  ASSIGN_OR_RETURN(const std::vector<double> scores, metadata.Numbers(kScoresKey));
  if (scores.size() < tokens.texts.size() ||
      !std::all_of(scores.begin(), scores.end(), [](double score) { return std::isfinite(score); }))
    return absl::InvalidArgumentError(
        absl::StrCat(kScoresKey, " must have a finite number for each token"));
  ASSIGN_OR_RETURN(const bool adds_space, metadata.BoolOr("tokenizer.ggml.add_space_prefix", true));
  Json merges = Json::array();
  for (const Merge& merge : MergesOf(tokens, scores)) {
    merges.push_back(Json::array(
        {std::string(tokens.texts[merge.left]), std::string(tokens.texts[merge.right])}));
  }
  Json unknown = nullptr;
  for (size_t id = 0; id < tokens.vocabulary_end && unknown.is_null(); ++id) {
    if (tokens.Is(id, GgufTokenType::kUnknown)) unknown = std::string(tokens.texts[id]);
  }
  Json normalizers = Json::array(), decoders = Json::array();
  if (adds_space) normalizers.push_back({{"type", "Prepend"}, {"prepend", kSpaceSymbol}});
  normalizers.push_back(Replace(" ", kSpaceSymbol));
  decoders.push_back(Replace(kSpaceSymbol, " "));
  for (const char* type : {"ByteFallback", "Fuse"}) decoders.push_back(Json{{"type", type}});
  if (adds_space)
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return TokenizerParts{
      .normalizer = {{"type", "Sequence"}, {"normalizers", std::move(normalizers)}},
      .pre_tokenizer = nullptr,
      .decoder = {{"type", "Sequence"}, {"decoders", std::move(decoders)}},
      .model = {{"unk_token", std::move(unknown)},
                {"fuse_unk", true},
                {"byte_fallback", true},
                {"ignore_merges", false},
                {"merges", std::move(merges)}},
      .adds_bos = true};
}

}  // namespace trainerd::engine
