// SPDX-License-Identifier: Apache-2.0
// How llama.cpp calls a model family and its weights, and how its files differ from those of
// transformers. No LibTorch.
// Source: the GGUF specification; PyPI gguf 0.19.0, constants.py and tensor_mapping.py.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/model/config/model_config.h"
#include "engine/model/folder/weight_spec.h"

namespace trainerd::engine {

struct GgufArchitecture {
  // "model_type" of config.json.
  std::string_view model_type;
  // "general.architecture".
  std::string_view name;
  // RoPE rotates neighbors of a head, as in Meta's files, instead of its two halves: the rows of
  // the query and key matrices are in another order than in transformers.
  bool has_interleaved_rope = false;
  // The file can hold biases of query, key and value, of the attention's output, and of the MLP.
  bool has_qkv_bias = false;
  bool has_output_bias = false;
  bool has_mlp_bias = false;
  // A tied model needs its head in the file too.
  bool needs_head = false;
};

// nullptr for a family without one.
const GgufArchitecture* FindGgufArchitecture(std::string_view model_type);
// The model types that have one, "llama, mistral, …".
std::string GgufModelTypes();

// Name of a weight of WeightsOf(config).
std::string GgufNameOf(const ModelConfig& config, const WeightSpec& weight);

// The number of heads of a matrix or bias whose rows are in the interleaved order; 0 for any other
// weight, or if the architecture has no such order.
int64_t InterleavedHeads(const GgufArchitecture& architecture, const ModelConfig& config,
                         WeightRole role);
// Where row `row` of such a weight in the one file is in the other. `head_dim`: rows of a head.
int64_t HfRowOf(int64_t gguf_row, int64_t head_dim);
int64_t GgufRowOf(int64_t hf_row, int64_t head_dim);

}  // namespace trainerd::engine
