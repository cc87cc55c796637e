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
  // A tied model needs its head in the file too; or the head is always the embedding.
  bool needs_head = false;
  bool is_always_tied = false;
  // The file can hold a divisor of each RoPE frequency (rope_factors.h).
  bool has_rope_factors = false;
  // Layers have a window, all but every one with a multiple of this number, counted from 1. 0: no
  // layer has one.
  int64_t window_pattern = 0;
  // The largest model of the family has this many layers, and divides attention scores by the
  // square root of hidden size / heads instead of the head size. 0: none does.
  int64_t large_layers = 0;
  // Every layer whose number, counted from 1, is a multiple of it has no RoPE. 0: all have.
  int64_t no_rope_interval = 0;
  // Every norm multiplies by 1 + weight, the embedding is scaled, and the MLP has GELU: Gemma.
  bool is_gemma = false;
  // The file is the language model of a vision-language model. llama.cpp reads the vision part from
  // another file, so no Hugging Face folder is made of it.
  bool is_text_part = false;
};

// nullptr for a family without one.
const GgufArchitecture* FindGgufArchitecture(std::string_view model_type);
// The one that files with this "general.architecture" are read as; nullptr if they are not.
const GgufArchitecture* FindImportedArchitecture(std::string_view name);
// The model types that have one, "llama, mistral, …"; and the architectures that are read.
std::string GgufModelTypes();
std::string ImportedArchitectures();

// Name of a weight of WeightsOf(config). The experts of a layer have one name: they are stacked in
// one tensor [experts, rows, columns].
std::string GgufNameOf(const ModelConfig& config, const WeightSpec& weight);

// The number of heads of a matrix or bias whose rows are in the interleaved order; 0 for any other
// weight, or if the architecture has no such order.
int64_t InterleavedHeads(const GgufArchitecture& architecture, const ModelConfig& config,
                         WeightRole role);
// Where row `row` of such a weight in the one file is in the other. `head_dim`: rows of a head.
int64_t HfRowOf(int64_t gguf_row, int64_t head_dim);
int64_t GgufRowOf(int64_t hf_row, int64_t head_dim);

}  // namespace trainerd::engine
