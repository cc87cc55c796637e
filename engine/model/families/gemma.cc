// SPDX-License-Identifier: Apache-2.0
#include "engine/model/families/gemma.h"

#include <cmath>
#include <cstddef>

namespace trainerd::engine {
namespace {

// A number that null switches off.
std::optional<double> NumberOrNull(ConfigReader& config, const char* key,
                                   std::optional<double> absent) {
  if (config.Has(key)) return config.PositiveNumber(key);
  return config.Contains(key) ? std::nullopt : absent;
}

}  // namespace

Family GemmaFamily() {
  return {.defaults = {.num_kv_heads = 4,
                       .head_dim = 256,
                       .tie_word_embeddings = true,
                       .activation_key = "hidden_activation",
                       .activation = "gelu_pytorch_tanh"},
          .names = {.attention_output_norm = "post_attention_layernorm",
                    .mlp_norm = "pre_feedforward_layernorm",
                    .mlp_output_norm = "post_feedforward_layernorm"}};
}

void ReadGemmaBlock(ConfigReader& config, const GemmaDefaults& defaults, ModelConfig& model) {
  if (config.Bool("use_bidirectional_attention", false)) {
    return config.Unsupported("use_bidirectional_attention is not supported");
  }
  BlockSpec& block = model.block;
  block.norm_placement = NormPlacement::kSandwich;
  block.norm_offset = 1.0;
  block.qkv_bias = block.output_bias = config.Bool("attention_bias", false);
  block.attention_soft_cap =
      NumberOrNull(config, "attn_logit_softcapping", defaults.attention_soft_cap);
  block.logits_soft_cap = NumberOrNull(config, "final_logit_softcapping", defaults.logits_soft_cap);
  block.attention_scale = 1.0 / std::sqrt(config.PositiveNumber("query_pre_attn_scalar", 256.0));
  block.embedding_scale = std::sqrt(static_cast<double>(model.hidden_size));
  block.rounds_embedding_scale = true;

  const std::optional<int64_t> window = SlidingWindow(config, 4096);
  if (config.Has("layer_types")) return ApplyLayerTypes(config, window, model);
  if (!window) return config.Invalid("sliding_window", "is null; layers of this model need it");
  for (size_t i = 0; i < block.layers.size(); ++i) {
    if ((i + 1) % static_cast<size_t>(defaults.pattern) != 0) block.layers[i].window = *window;
  }
}

}  // namespace trainerd::engine
