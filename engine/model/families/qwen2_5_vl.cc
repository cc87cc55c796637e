// SPDX-License-Identifier: Apache-2.0
// The language model of Qwen2.5-VL: Qwen2. Files of transformers 4 have its keys beside
// "vision_config".
// Source: transformers 5.23.0, models/qwen2_5_vl.
#include "engine/model/families/family.h"

namespace trainerd::engine::families {
namespace {

void ReadBlock(ConfigReader& config, ModelConfig& model) {
  model.block.qkv_bias = true;
  // transformers 4 writes it in "text_config" alone.
  if (config.Bool("tie_word_embeddings", false)) model.tie_word_embeddings = true;
  ReadSwitchedWindow(config, model, /*default_max_window_layers=*/80);
}

}  // namespace

Family Qwen25Vl() {
  return {.model_type = "qwen2_5_vl",
          .architecture = "Qwen2_5_VLForConditionalGeneration",
          .defaults = {.num_kv_heads = 8,
                       .max_position_embeddings = 32768,
                       .rms_norm_eps = 1e-5,
                       .rope_theta = 1000000.0,
                       .has_multimodal_rope = true},
          .names = VisionLanguageNames(),
          .has_text_config = true,
          .read_block = ReadBlock};
}

}  // namespace trainerd::engine::families
