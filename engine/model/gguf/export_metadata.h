// SPDX-License-Identifier: Apache-2.0
// The metadata of a GGUF file that describes a model, as llama.cpp reads it. No LibTorch.
// Source: the GGUF specification; PyPI gguf 0.19.0, constants.py.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/formats/gguf/gguf_writer.h"
#include "engine/model/config/model_config.h"
#include "engine/model/gguf/architecture.h"

namespace trainerd::engine {

// A tensor that the file holds beside the weights, fp32.
struct ExtraTensor {
  std::string name;
  std::vector<float> values;
};

// Adds sizes, RoPE and factors of the model, whose config.json is `json`, to `entries`, and the
// tensors with the divisors of RoPE frequencies, if it has some, to `extra`.
// Where only layers with a sliding window differ from what llama.cpp computes, the context is cut
// to the window.
// Errors: Unimplemented for what llama.cpp does not compute for the architecture.
absl::Status AddModelEntries(const ModelConfig& config, const nlohmann::json& json,
                             const GgufArchitecture& architecture, GgufEntries& entries,
                             std::vector<ExtraTensor>& extra);

}  // namespace trainerd::engine
