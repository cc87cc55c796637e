// SPDX-License-Identifier: Apache-2.0
#include "engine/text/tokenizer/config_tokens.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/text/tokenizer/tokenizer_file.h"
#include "engine/text/tokenizer/tokenizer_json.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {

absl::Status ConfigTokens::AddToken(AddedToken token) {
  if (token.content.empty()) return absl::OkStatus();
  const auto [found, is_new] = by_content_.try_emplace(token.content, added_.size());
  if (!is_new) {
    AddedToken& known = added_[found->second];
    if (known.special) once_special_.insert(known.id);
    token.id = known.id;
    known = std::move(token);
    return absl::OkStatus();
  }
  token.id = vocabulary_.IdOf(token.content);
  if (token.id < 0) {
    token.id = NextAddedId(model_tokens_, added_);
    if (token.id > tokenizer_json::kMaxTokenId || !vocabulary_.Add(token.content, token.id)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tokenizer_config.json: the added token \"", token.content, "\" needs the id ", token.id,
          ", which belongs to another token of tokenizer.json"));
    }
  }
  added_.push_back(std::move(token));
  return absl::OkStatus();
}

absl::Status ConfigTokens::Add(const TokenizerConfig& config) {
  const auto is_named = [&](const AddedToken& token) {
    return std::any_of(config.named_tokens.begin(), config.named_tokens.end(),
                       [&](const auto& named) { return named.second.content == token.content; });
  };
  absl::flat_hash_set<int32_t> ids_of_file;
  for (size_t i = 0; i < added_.size(); ++i) {
    by_content_.try_emplace(added_[i].content, i);
    ids_of_file.insert(added_[i].id);
    // Without added_tokens_decoder the tokens of tokenizer.json take its place.
    if (!config.has_decoder) added_[i].special |= is_named(added_[i]);
  }
  for (const AddedToken& token : config.added_tokens) {
    // tokenizer.json wins over added_tokens.json.
    if (!config.has_decoder && ids_of_file.contains(token.id)) continue;
    AddedToken added = token;
    added.special |= is_named(token);
    RETURN_IF_ERROR(AddToken(std::move(added)));
  }
  for (const auto& [name, token] : config.named_tokens) {
    if (by_content_.contains(token.content)) continue;
    RETURN_IF_ERROR(AddToken(token));
  }
  for (const AddedToken& token : config.extra_tokens) {
    if (by_content_.contains(token.content)) continue;
    RETURN_IF_ERROR(AddToken(token));
  }
  return absl::OkStatus();
}

}  // namespace trainerd::engine
