// SPDX-License-Identifier: Apache-2.0
// OLMo 2: norms behind attention and MLP instead of before them, and RMSNorm over all query heads
// and all key heads of a token.
// Source: transformers 5.23.0, models/olmo2; OLMo et al., "2 OLMo 2 Furious" (2024).
#include "engine/model/families/family.h"

namespace trainerd::engine::families {
namespace {

void ReadBlock(ConfigReader& config, ModelConfig& model) {
  BlockSpec& block = model.block;
  block.norm_placement = NormPlacement::kPost;
  block.qk_norm = QkNorm::kAllHeads;
  block.qkv_bias = block.output_bias = config.Bool("attention_bias", false);
}

}  // namespace

Family Olmo2() {
  return {.model_type = "olmo2",
          .architecture = "Olmo2ForCausalLM",
          .defaults = {.rms_norm_eps = 1e-5},
          .names = {.attention_output_norm = "post_attention_layernorm",
                    .mlp_output_norm = "post_feedforward_layernorm"},
          .read_block = ReadBlock};
}

}  // namespace trainerd::engine::families
