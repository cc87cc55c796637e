// SPDX-License-Identifier: Apache-2.0
// Granite 3: Llama with factors of embedding, attention scores, branches and logits.
// Source: transformers 5.23.0, models/granite.
#include "engine/model/families/family.h"

namespace trainerd::engine::families {
namespace {

void ReadBlock(ConfigReader& config, ModelConfig& model) {
  BlockSpec& block = model.block;
  block.qkv_bias = block.output_bias = config.Bool("attention_bias", false);
  block.mlp_bias = config.Bool("mlp_bias", false);
  block.embedding_scale = config.PositiveNumber("embedding_multiplier", 1.0);
  block.attention_scale = config.PositiveNumber("attention_multiplier", 1.0);
  block.residual_scale = config.PositiveNumber("residual_multiplier", 1.0);
  block.logits_scale = 1.0 / config.PositiveNumber("logits_scaling", 1.0);
}

}  // namespace

Family Granite() {
  return {.model_type = "granite", .architecture = "GraniteForCausalLM", .read_block = ReadBlock};
}

}  // namespace trainerd::engine::families
