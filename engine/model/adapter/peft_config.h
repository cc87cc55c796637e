// SPDX-License-Identifier: Apache-2.0
// adapter_config.json of a PEFT folder (LoraConfig of PEFT 0.21), as far as it describes an adapter
// of linear layers. What would change the result and is not supported is refused. No LibTorch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/folder/adapter.h"

namespace trainerd::engine {

inline constexpr char kAdapterConfigName[] = "adapter_config.json";
inline constexpr char kAdapterWeightsName[] = "adapter_model.safetensors";

struct PeftConfig {
  // How the file chooses the layers.
  enum class Choice {
    // By names (target_modules).
    kNames,
    // Every linear layer of the blocks ("all-linear").
    kAllLinear,
    // By a regular expression of Python. The tensors show which layers it matches.
    kTensors,
  };
  int64_t rank = 0;
  double alpha = 0.0;
  bool rslora = false;
  Choice choice = Choice::kNames;
  std::vector<std::string> target_modules;
  // Names of layers that have no adapter though they are chosen.
  std::vector<std::string> excluded_modules;
  // The layers of the model that are adapted; nullopt: all of them. Does not apply to a layer whose
  // whole name is in target_modules.
  std::optional<std::vector<int64_t>> layers;
  // base_model_name_or_path; "" = none is given.
  std::string base_model;
};

// `where` names the file in messages. Errors: InvalidArgument and Unimplemented name the key and
// its value.
absl::StatusOr<PeftConfig> ParsePeftConfig(const std::string& json, const std::string& where);

// Whether the configuration chooses `target`; not with Choice::kTensors.
bool Chooses(const PeftConfig& config, const AdapterTarget& target);

// The text of the file for a trained adapter.
std::string PeftConfigJson(const AdapterSpec& adapter, const std::string& base_model);

}  // namespace trainerd::engine
