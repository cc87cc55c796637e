// SPDX-License-Identifier: Apache-2.0
// Tensors of a model folder that the model does not have. Nothing of a folder is ignored without a
// word, except the inv_freq buffers of old checkpoints, which follow from config.json.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/model/config/model_config.h"

namespace trainerd::engine {

struct UnexpectedTensors {
  // Parts of the decoder: biases, norms, layers beyond num_hidden_layers. Without them the model
  // computes something else than it was trained to.
  std::vector<std::string> refused;
  // Parts of something else, such as the head of a reward model. They are not read and not saved.
  std::vector<std::string> ignored;
};

// `names` are those of the folder, sorted. A head that equals a tied embedding is expected
// (HfFolder::MatchHead), and so is the vision part.
UnexpectedTensors FindUnexpectedTensors(const std::vector<std::string>& names,
                                        const ModelConfig& config);

// OK, or InvalidArgument that names the tensors of `refused` and what to correct.
absl::Status RefusedTensorsStatus(const UnexpectedTensors& unexpected, const ModelConfig& config,
                                  const std::string& folder);
// One sentence about the tensors of `ignored`, of which there must be some.
std::string IgnoredTensorsText(const UnexpectedTensors& unexpected, const std::string& folder);

}  // namespace trainerd::engine
