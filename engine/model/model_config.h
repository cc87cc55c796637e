// SPDX-License-Identifier: Apache-2.0
// What the decoder needs to know of a Hugging Face config.json, in the spellings of transformers 4
// and 5. Families (Llama, Qwen2, Qwen3, Mistral) differ only in the values here and in the weight
// names of families.h. No LibTorch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace trainerd::engine {

// Llama 3.1's frequency scaling (rope_type "llama3").
struct Llama3RopeScaling {
  double factor = 8.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  int64_t original_max_position_embeddings = 8192;
};

// Counts are numbers of things, sizes are elements.
struct ModelConfig {
  std::string model_type;  // llama | qwen2 | qwen3 | mistral
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000.0;
  double rope_factor = 1.0;  // > 1: linear position scaling (rope_type "linear")
  std::optional<Llama3RopeScaling> llama3_rope;
  bool qkv_bias = false;     // biases of the query, key and value projections
  bool output_bias = false;  // bias of the attention's output projection
  bool mlp_bias = false;     // biases of the three MLP projections
  bool qk_norm = false;      // RMSNorm over each head of query and key, before RoPE
  bool tie_word_embeddings = false;
  int64_t sliding_window = 0;  // tokens that a position sees in a sliding layer, itself included
  std::vector<bool> sliding_layers;  // per layer; empty: none slides
  double initializer_range = 0.02;
  std::string dtype =
      "float32";  // of the stored weights, as config.json says: float32 | bfloat16 | float16

  int64_t q_size() const { return num_heads * head_dim; }
  int64_t kv_size() const { return num_kv_heads * head_dim; }
  // Tokens that a position of that layer sees; 0 = all before it.
  int64_t WindowOf(int64_t layer) const {
    return !sliding_layers.empty() && sliding_layers[layer] ? sliding_window : 0;
  }
};

// Reads config.json's text. `where` is the name used in messages.
// Errors: InvalidArgument names the key and the value (missing, wrong type, sizes that do not fit
// together); Unimplemented for an architecture, activation or RoPE scaling that is not supported
// lists those that are.
absl::StatusOr<ModelConfig> ParseModelConfig(const std::string& json, const std::string& where);

// Reads `folder`/config.json. Errors: NotFound when there is none; else as ParseModelConfig.
absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& folder);

}  // namespace trainerd::engine
