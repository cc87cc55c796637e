// SPDX-License-Identifier: Apache-2.0
// Qwen3: RMSNorm of each query and key head, and a head size of its own.
// Source: transformers 5.23.0, models/qwen3.
#include "engine/model/families/family.h"

namespace trainerd::engine::families {
namespace {

void ReadBlock(ConfigReader& config, ModelConfig& model) {
  BlockSpec& block = model.block;
  block.qk_norm = QkNorm::kPerHead;
  block.qkv_bias = block.output_bias = config.Bool("attention_bias", false);
  ReadSwitchedWindow(config, model);
}

}  // namespace

Family Qwen3() {
  return {.model_type = "qwen3",
          .architecture = "Qwen3ForCausalLM",
          .defaults = {.num_kv_heads = 32, .head_dim = 128, .max_position_embeddings = 32768},
          .read_block = ReadBlock};
}

}  // namespace trainerd::engine::families
