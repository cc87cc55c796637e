// SPDX-License-Identifier: Apache-2.0
#include "engine/model/folder/freeze.h"

#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/model/folder/weight_spec.h"

namespace trainerd::engine {

namespace {

// The name without the part that only vision-language models have: as in a text model.
std::string ShortName(const std::string& name, const WeightNames& names) {
  if (names.older_decoder == nullptr || !absl::StartsWith(name, names.decoder)) return name;
  return absl::StrCat(names.older_decoder, name.substr(std::strlen(names.decoder)));
}

// Whether the pattern is about tensors that are frozen in any case.
bool IsOfVisionPart(const std::string& pattern, const WeightNames& names) {
  for (const char* module : {names.vision, names.older_vision}) {
    if (module == nullptr) continue;
    const std::string prefix = absl::StrCat(module, ".");
    if (absl::StartsWith(pattern, prefix) || MatchesPattern(pattern, prefix)) return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<FrozenNames> ResolveFreeze(const ModelConfig& config,
                                          const std::vector<std::string>& patterns) {
  FrozenNames frozen;
  const std::vector<WeightSpec> specs = WeightsOf(config);
  for (size_t i = 0; i < patterns.size(); ++i) {
    bool matches = false;
    for (const WeightSpec& spec : specs) {
      if (!MatchesPattern(patterns[i], spec.name) &&
          !MatchesPattern(patterns[i], ShortName(spec.name, config.names)))
        continue;
      matches = true;
      frozen.insert(spec.name);
    }
    if (matches || IsOfVisionPart(patterns[i], config.names)) continue;
    const bool is_tied_head = config.tie_word_embeddings && MatchesPattern(patterns[i], kHeadName);
    return absl::InvalidArgumentError(absl::StrCat(
        "train.freeze[", i, "]: \"", patterns[i], "\" matches no parameter of the model",
        is_tied_head ? ", because its head is tied to the embedding; freeze "
                       "model.embed_tokens.weight, which freezes both"
                     : "; write Hugging Face names with * for any text, for example "
                       "model.layers.0.* or *.self_attn.k_proj.weight"));
  }
  if (frozen.size() == specs.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "train.freeze freezes all ", specs.size(),
        " parameters of the model, so nothing would train; remove a pattern or narrow one"));
  }
  return frozen;
}

bool MatchesPattern(std::string_view pattern, std::string_view name) {
  // After a mismatch, the text that the last * stands for grows by one character.
  size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace trainerd::engine
