// SPDX-License-Identifier: Apache-2.0
// What the decoder needs to know of a Hugging Face config.json, in the spellings of transformers 4
// and 5. What the families have in common is read here; families/ reads the rest. No LibTorch.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "engine/model/config/block_spec.h"

namespace trainerd::engine {

// Names of the modules in Hugging Face checkpoints, without ".weight" and ".bias". Those of a layer
// follow "DECODER.layers.N.". The defaults are Llama's.
struct WeightNames {
  // The module of the embedding, the layers and the last norm.
  const char* decoder = "model";
  // The vision part of a vision-language model. It is frozen, and model files keep its tensors byte
  // for byte. Null: the model has none.
  const char* vision = nullptr;
  // Both in files of older versions of transformers. Null: as above.
  const char* older_decoder = nullptr;
  const char* older_vision = nullptr;
  const char* attention_norm = "input_layernorm";
  const char* query = "self_attn.q_proj";
  const char* key = "self_attn.k_proj";
  const char* value = "self_attn.v_proj";
  // Query, key and value as one matrix, in this order; null: three.
  const char* joint_qkv = nullptr;
  const char* query_norm = "self_attn.q_norm";
  const char* key_norm = "self_attn.k_norm";
  const char* output = "self_attn.o_proj";
  // Norm of the attention's output; used with NormPlacement kPost and kSandwich.
  const char* attention_output_norm = nullptr;
  const char* mlp_norm = "post_attention_layernorm";
  const char* gate = "mlp.gate_proj";
  const char* up = "mlp.up_proj";
  // Gate and up as one matrix; null: two.
  const char* joint_gate_up = nullptr;
  const char* down = "mlp.down_proj";
  // Of a mixture of experts: the router, and the module of the experts, whose matrices are
  // "EXPERTS.N.gate_proj", "up_proj" and "down_proj".
  const char* router = "mlp.gate";
  const char* experts = "mlp.experts";
  // Norm of the MLP's output; used with NormPlacement kPost and kSandwich.
  const char* mlp_output_norm = nullptr;
};

// Counts are numbers of things, sizes are elements.
struct ModelConfig {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  // The head is the embedding matrix.
  bool tie_word_embeddings = false;
  double initializer_range = 0.02;
  // Of the stored weights, as in config.json: float32 | bfloat16 | float16.
  std::string dtype = "float32";
  BlockSpec block;
  WeightNames names;

  int64_t q_size() const { return num_heads * head_dim; }
  int64_t kv_size() const { return num_kv_heads * head_dim; }
};

// Parses the text of config.json. `where` names the file in messages.
// Errors: InvalidArgument names the key and the value (missing, wrong type, sizes that do not fit
// together); Unimplemented for an architecture, activation or RoPE scaling that is not supported
// lists those that are.
absl::StatusOr<ModelConfig> ParseModelConfig(const std::string& json, const std::string& where);

// Reads `folder`/config.json. Errors: NotFound if the file does not exist; else as
// ParseModelConfig.
absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& folder);

// The text of a config.json with "tie_word_embeddings": false, also in its "text_config" if that
// has the key. Errors: InvalidArgument if it is not JSON.
absl::StatusOr<std::string> UntiedModelConfig(const std::string& json);

}  // namespace trainerd::engine
