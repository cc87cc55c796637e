// SPDX-License-Identifier: Apache-2.0
#include "engine/model/folder/adapter.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "engine/model/folder/freeze.h"
#include "proto/base/status_macros.h"
#include "proto/contract/config/advice/nearest_word.h"

namespace trainerd::engine {
namespace {

constexpr char kHeadModule[] = "lm_head";

// Of a weight of the model. PEFT has no layers for experts: transformers joins them in one tensor.
bool IsAdaptable(WeightRole role) {
  if (IsOfExperts(role)) return false;
  const ParameterGroup group = GroupOf(role);
  return group != ParameterGroup::kNorm && group != ParameterGroup::kBias;
}

std::string LastPart(const std::string& module) {
  return module.substr(module.find_last_of('.') + 1);
}

// `name` of the job file: as NamesModule, and * stands for any text.
bool Matches(const std::string& name, const std::string& module) {
  return MatchesPattern(name, module) || MatchesPattern("*." + name, module);
}

// Whether `name` of the job file matches a router or a matrix of an expert, or a part of its name.
bool NamesExperts(const std::string& name, const ModelConfig& config) {
  for (const WeightSpec& spec : WeightsOf(config)) {
    if (!IsOfExperts(spec.role)) continue;
    const std::string module(absl::StripSuffix(spec.name, ".weight"));
    if (Matches(name, module) || Matches(name + ".*", module)) return true;
  }
  return false;
}

absl::Status NoSuchLayer(const std::string& key, const std::string& name,
                         const std::vector<AdapterTarget>& layers, const ModelConfig& config) {
  std::vector<std::string> last_parts, candidates;
  bool is_module_of_layers = false;
  for (const AdapterTarget& layer : layers) {
    is_module_of_layers |= Matches(name + ".*", layer.module);
    const std::string last = LastPart(layer.module);
    if (std::find(last_parts.begin(), last_parts.end(), last) != last_parts.end()) continue;
    last_parts.push_back(last);
    // The names that people write: q_proj, self_attn.q_proj.
    candidates.push_back(last);
    const std::string owner = layer.module.substr(0, layer.module.size() - last.size());
    if (IsInBlock(layer))
      candidates.push_back(LastPart(owner.substr(0, owner.size() - 1)) + "." + last);
  }
  for (const AdapterTarget& layer : layers) candidates.push_back(layer.module);
  std::string advice;
  if (NamesExperts(name, config)) {
    advice =
        "; the router and the experts have none, because transformers joins the experts in one "
        "tensor; remove them from the list, or train without lora";
  } else if (is_module_of_layers) {
    advice = absl::StrCat("; write ", name, ".* for the layers in it");
  } else if (absl::EndsWith(name, ".weight")) {
    advice = "; write it without .weight";
  } else {
    std::string nearest = NearestWord(name, candidates);
    if (nearest.empty()) nearest = NearestWord(LastPart(name), last_parts);
    if (!nearest.empty()) advice = absl::StrCat("; did you mean \"", nearest, "\"?");
  }
  const bool is_question = absl::EndsWith(advice, "?");
  return absl::InvalidArgumentError(
      absl::StrCat(key, ": \"", name, "\" matches no layer that can have an adapter", advice,
                   is_question ? " The" : "; the", " model has ", absl::StrJoin(last_parts, ", "),
                   ", and layers 0 to ", config.num_layers - 1));
}

}  // namespace

double AdapterSpec::scale() const {
  const auto r = static_cast<double>(rank);
  return alpha / (rslora ? std::sqrt(r) : r);
}

std::vector<AdapterTarget> AdaptableLayers(const ModelConfig& config) {
  std::vector<AdapterTarget> layers;
  for (const WeightSpec& spec : WeightsOf(config)) {
    if (!IsAdaptable(spec.role)) continue;
    const bool is_embedding = spec.role == WeightRole::kEmbedding;
    layers.push_back({.role = spec.role,
                      .layer = spec.layer,
                      .module = std::string(absl::StripSuffix(spec.name, ".weight")),
                      .in = spec.shape[is_embedding ? 0 : 1],
                      .out = spec.shape[is_embedding ? 1 : 0]});
  }
  if (config.tie_word_embeddings) {
    layers.push_back({.role = WeightRole::kHead,
                      .module = kHeadModule,
                      .in = config.hidden_size,
                      .out = config.vocab_size});
  }
  return layers;
}

bool IsInBlock(const AdapterTarget& target) { return target.layer >= 0; }

bool NamesModule(const std::string& name, const std::string& module) {
  return name == module || absl::EndsWith(module, "." + name);
}

std::vector<std::string> TargetModuleNames(const std::vector<AdapterTarget>& targets,
                                           const ModelConfig& config) {
  // Layers with this last part that are no targets.
  std::map<std::string, int64_t> missing;
  for (const AdapterTarget& layer : AdaptableLayers(config)) ++missing[LastPart(layer.module)];
  for (const AdapterTarget& target : targets) --missing[LastPart(target.module)];
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const AdapterTarget& target : targets) {
    const std::string last = LastPart(target.module);
    // The vision part, which AdaptableLayers does not list, may have layers of the same name.
    const bool is_whole = missing[last] == 0 && config.names.vision == nullptr;
    const std::string& name = is_whole ? last : target.module;
    if (seen.insert(name).second) names.push_back(name);
  }
  return names;
}

absl::StatusOr<AdapterSpec> ResolveAdapter(const v1::LoraConfig& lora, const ModelConfig& config) {
  AdapterSpec adapter{
      .rank = lora.r(), .alpha = lora.alpha(), .dropout = lora.dropout(), .rslora = lora.rslora()};
  const std::vector<AdapterTarget> layers = AdaptableLayers(config);
  bool has_pattern = lora.target_modules().empty();
  std::set<std::string> chosen;
  for (int i = 0; i < lora.target_modules_size(); ++i) {
    const std::string& name = lora.target_modules(i);
    has_pattern |= absl::StrContains(name, '*');
    bool matches = false;
    for (const AdapterTarget& layer : layers) {
      if (!Matches(name, layer.module)) continue;
      matches = true;
      chosen.insert(layer.module);
    }
    if (!matches)
      return NoSuchLayer(absl::StrCat("lora.target_modules[", i, "]"), name, layers, config);
  }
  for (const AdapterTarget& layer : layers) {
    if (lora.target_modules().empty() ? IsInBlock(layer) : chosen.count(layer.module) > 0)
      adapter.targets.push_back(layer);
  }
  // PEFT knows no patterns in a list.
  if (has_pattern || config.names.vision != nullptr) {
    adapter.target_modules = TargetModuleNames(adapter.targets, config);
  } else {
    adapter.target_modules.assign(lora.target_modules().begin(), lora.target_modules().end());
  }
  return adapter;
}

std::string AdapterWeightName(const AdapterTarget& target, WeightRole matrix) {
  const char* letter = matrix == WeightRole::kAdapterA ? "A" : "B";
  return target.role == WeightRole::kEmbedding
             ? absl::StrCat("base_model.model.", target.module, ".lora_embedding_", letter)
             : absl::StrCat("base_model.model.", target.module, ".lora_", letter, ".weight");
}

std::vector<WeightSpec> AdapterWeights(const AdapterSpec& adapter) {
  const std::vector<AdapterTarget>& targets = adapter.targets;
  std::vector<WeightSpec> specs;
  for (size_t begin = 0, end = 0; begin < targets.size(); begin = end) {
    // Targets that the decoder multiplies together.
    while (end < targets.size() && targets[end].layer == targets[begin].layer &&
           FirstOfJoint(targets[end].role) == FirstOfJoint(targets[begin].role))
      ++end;
    for (const WeightRole matrix : {WeightRole::kAdapterA, WeightRole::kAdapterB}) {
      for (size_t i = begin; i < end; ++i) {
        const AdapterTarget& target = targets[i];
        specs.push_back({matrix, target.layer, AdapterWeightName(target, matrix),
                         matrix == WeightRole::kAdapterA
                             ? std::vector<int64_t>{adapter.rank, target.in}
                             : std::vector<int64_t>{target.out, adapter.rank}});
      }
    }
  }
  return specs;
}

bool MergeUnties(const AdapterSpec& adapter, bool is_tied) {
  return is_tied && !std::all_of(adapter.targets.begin(), adapter.targets.end(), IsInBlock);
}

}  // namespace trainerd::engine
