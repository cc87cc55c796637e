// SPDX-License-Identifier: Apache-2.0
// Tables of the supported model families: config.json keys that differ, and the list of weights
// with Hugging Face names, shapes and roles. No LibTorch.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/model_config.h"

namespace trainerd::engine {

struct Family {
  std::string_view model_type;
  std::string_view architecture;  // of config.json "architectures"
  bool qkv_bias_by_default;       // where config.json has no "attention_bias"
  bool attention_bias_is_a_key;  // else config.json cannot change qkv_bias_by_default; the key also
                                 // gives o_proj a bias
  bool qk_norm;
  bool sliding_needs_switch;  // sliding_window counts only with use_sliding_window: true
  int64_t default_head_dim;   // 0: hidden_size / num_attention_heads
};

// nullptr when the family is not supported.
const Family* FindFamily(std::string_view model_type);
// "llama, mistral, qwen2, qwen3".
std::string SupportedFamilies();

// What a weight is to the decoder. The order is the order in the flat parameter buffer: query, key
// and value (and gate and up) lie behind each other so that each group is one matrix.
enum class WeightRole {
  kEmbedding,
  kInputNorm,
  kQuery,
  kKey,
  kValue,
  kQueryBias,
  kKeyBias,
  kValueBias,
  kQueryNorm,
  kKeyNorm,
  kOutput,
  kOutputBias,
  kPostAttentionNorm,
  kGate,
  kUp,
  kGateBias,
  kUpBias,
  kDown,
  kDownBias,
  kFinalNorm,
  kHead,
};

struct WeightSpec {
  WeightRole role;
  int64_t layer = -1;  // -1: not of a block
  std::string name;    // Hugging Face
  std::vector<int64_t> shape;
};

// Every trained weight of the model, in buffer order. A tied model has no head.
std::vector<WeightSpec> WeightsOf(const ModelConfig& config);
// Sum of the sizes.
int64_t CountParameters(const ModelConfig& config);

}  // namespace trainerd::engine
