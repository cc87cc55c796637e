// SPDX-License-Identifier: Apache-2.0
// Qwen2 and Qwen2.5: biases of query, key and value.
// Source: transformers 5.23.0, models/qwen2.
#include "engine/model/families/family.h"

namespace trainerd::engine::families {
namespace {

void ReadBlock(ConfigReader& config, ModelConfig& model) {
  model.block.qkv_bias = true;
  ReadSwitchedWindow(config, model);
}

}  // namespace

Family Qwen2() {
  return {.model_type = "qwen2",
          .architecture = "Qwen2ForCausalLM",
          .defaults = {.num_kv_heads = 32, .max_position_embeddings = 32768},
          .read_block = ReadBlock};
}

}  // namespace trainerd::engine::families
