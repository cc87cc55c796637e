// SPDX-License-Identifier: Apache-2.0
// Gemma: Llama with GeGLU, norms that multiply by 1 + weight, and a scaled embedding.
// Source: transformers 5.23.0, models/gemma; Gemma Team, "Gemma" (2024).
#include <cmath>

#include "engine/model/families/family.h"

namespace trainerd::engine::families {
namespace {

void ReadBlock(ConfigReader& config, ModelConfig& model) {
  if (config.Bool("use_bidirectional_attention", false)) {
    return config.Unsupported("use_bidirectional_attention is not supported");
  }
  BlockSpec& block = model.block;
  block.norm_offset = 1.0;
  block.qkv_bias = block.output_bias = config.Bool("attention_bias", false);
  block.embedding_scale = std::sqrt(static_cast<double>(model.hidden_size));
  block.rounds_embedding_scale = true;
}

}  // namespace

Family Gemma1() {
  return {.model_type = "gemma",
          .architecture = "GemmaForCausalLM",
          .defaults = {.num_kv_heads = 16,
                       .head_dim = 256,
                       .max_position_embeddings = 8192,
                       .tie_word_embeddings = true,
                       .activation = "gelu_pytorch_tanh",
                       .gelu_is_tanh = true},
          .read_block = ReadBlock};
}

}  // namespace trainerd::engine::families
