// SPDX-License-Identifier: Apache-2.0
#include "engine/model/folder/unexpected_tensors.h"

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/model/folder/hf_folder.h"
#include "engine/model/folder/weight_spec.h"

namespace trainerd::engine {
namespace {

// Buffers of the rotary embedding follow from config.json.
bool IsPartOfDecoder(const std::string& name) {
  if (absl::StrContains(name, "rotary_emb.")) return false;
  return absl::StartsWith(name, "model.") || absl::StartsWith(name, "lm_head.");
}

}  // namespace

UnexpectedTensors FindUnexpectedTensors(const std::vector<std::string>& names,
                                        const ModelConfig& config) {
  std::set<std::string> expected;
  for (const WeightSpec& spec : WeightsOf(config)) expected.insert(spec.name);
  if (config.tie_word_embeddings) expected.insert(kHeadName);
  UnexpectedTensors unexpected;
  for (const std::string& name : names) {
    if (expected.count(name) > 0 || absl::StrContains(name, "rotary_emb.inv_freq")) continue;
    if (config.names.vision != nullptr &&
        absl::StartsWith(name, absl::StrCat(config.names.vision, ".")))
      continue;
    (IsPartOfDecoder(name) ? unexpected.refused : unexpected.ignored).push_back(name);
  }
  return unexpected;
}

absl::Status RefusedTensorsStatus(const UnexpectedTensors& unexpected, const ModelConfig& config,
                                  const std::string& folder) {
  const std::vector<std::string>& names = unexpected.refused;
  if (names.empty()) return absl::OkStatus();
  int64_t last_layer = -1;
  bool all_surplus = true;
  for (const std::string& name : names) {
    last_layer = std::max(last_layer, LayerOf(name));
    all_surplus = all_surplus && LayerOf(name) >= config.num_layers;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      folder, ": ", names.size(), names.size() == 1 ? " tensor is" : " tensors are",
      " not part of the model that config.json describes, and without it the result would change: ",
      ShortList(names), "; ",
      all_surplus ? absl::StrCat("set \"num_hidden_layers\": ", last_layer + 1, " instead of ",
                                 config.num_layers, " in config.json")
                  : "use the config.json that belongs to these weights, or remove the tensors"));
}

std::string IgnoredTensorsText(const UnexpectedTensors& unexpected, const std::string& folder) {
  const std::vector<std::string>& names = unexpected.ignored;
  return absl::StrCat(folder, ": ", names.size(), names.size() == 1 ? " tensor is" : " tensors are",
                      " not part of the language model; trainerd neither reads nor saves ",
                      names.size() == 1 ? "it: " : "them: ", ShortList(names));
}

}  // namespace trainerd::engine
