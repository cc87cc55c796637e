// SPDX-License-Identifier: Apache-2.0
// Llama, and what uses its architecture (SmolLM 1 and 2).
// Source: transformers 5.23.0, models/llama.
#include "engine/model/families/family.h"

namespace trainerd::engine::families {
namespace {

void ReadBlock(ConfigReader& config, ModelConfig& model) {
  BlockSpec& block = model.block;
  block.qkv_bias = block.output_bias = config.Bool("attention_bias", false);
  block.mlp_bias = config.Bool("mlp_bias", false);
}

}  // namespace

Family Llama() {
  return {.model_type = "llama", .architecture = "LlamaForCausalLM", .read_block = ReadBlock};
}

}  // namespace trainerd::engine::families
