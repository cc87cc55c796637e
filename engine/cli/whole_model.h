// SPDX-License-Identifier: Apache-2.0
// Loads a model folder that a user names, or the model and the adapter of a PEFT folder.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/model/adapter/adapter_folder.h"
#include "engine/model/config/model_config.h"
#include "engine/model/parameters.h"

namespace trainerd::engine {

struct WholeModel {
  // nullptr: the folder holds a whole model.
  std::unique_ptr<AdapterFolder> adapter;
  // The folder that holds the model itself: the one that was named, or the one that the adapter
  // names.
  std::string folder;
  // Of the model, before MatchHead.
  ModelConfig config;
};

// Errors: NotFound if the adapter names no folder on this machine; those of AdapterFolder::Open and
// ReadModelConfig.
absl::StatusOr<WholeModel> OpenWholeModel(const std::string& folder);

// Loads the weights on the CPU, in fp32. Sets model.config.tie_word_embeddings as the weights are.
absl::StatusOr<std::unique_ptr<ParameterSet>> LoadParameters(WholeModel& model);

}  // namespace trainerd::engine
