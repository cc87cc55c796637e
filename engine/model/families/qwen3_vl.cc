// SPDX-License-Identifier: Apache-2.0
// The language model of Qwen3-VL: Qwen3 without windows.
// Source: transformers 5.23.0, models/qwen3_vl.
#include "engine/model/families/family.h"

namespace trainerd::engine::families {
namespace {

void ReadBlock(ConfigReader& config, ModelConfig& model) {
  BlockSpec& block = model.block;
  block.qk_norm = QkNorm::kPerHead;
  block.qkv_bias = block.output_bias = config.Bool("attention_bias", false);
}

}  // namespace

Family Qwen3Vl() {
  return {.model_type = "qwen3_vl",
          .architecture = "Qwen3VLForConditionalGeneration",
          .defaults = {.num_kv_heads = 32,
                       .head_dim = 128,
                       .max_position_embeddings = 128000,
                       .rope_theta = 500000.0,
                       .has_multimodal_rope = true},
          .names = VisionLanguageNames(),
          .has_text_config = true,
          .read_block = ReadBlock};
}

}  // namespace trainerd::engine::families
