// SPDX-License-Identifier: Apache-2.0
// SmolLM3: Llama with some layers without RoPE.
// Source: transformers 5.23.0, models/smollm3.
#include <cstddef>
#include <vector>

#include "engine/model/families/family.h"

namespace trainerd::engine::families {
namespace {

// "no_rope_layers" has a 1 for each layer with RoPE and a 0 for each without. If it is absent,
// every layer whose number, counted from 1, is a multiple of "no_rope_layer_interval" has none.
void ReadNoRopeLayers(ConfigReader& config, ModelConfig& model) {
  std::vector<LayerSpec>& layers = model.block.layers;
  if (config.Has("no_rope_layers")) {
    const std::vector<int64_t> has_rope = config.IntList("no_rope_layers", model.num_layers);
    for (size_t i = 0; i < layers.size(); ++i) {
      if (has_rope[i] == 0) layers[i].rope.reset();
    }
    return;
  }
  const size_t interval = static_cast<size_t>(config.PositiveInt("no_rope_layer_interval", 4));
  for (size_t i = interval - 1; i < layers.size(); i += interval) layers[i].rope.reset();
}

void ReadBlock(ConfigReader& config, ModelConfig& model) {
  BlockSpec& block = model.block;
  block.qkv_bias = block.output_bias = config.Bool("attention_bias", false);
  block.mlp_bias = config.Bool("mlp_bias", false);
  ReadNoRopeLayers(config, model);
  const std::optional<int64_t> window = SlidingWindow(config, std::nullopt);
  // transformers masks the layers of "layer_types" whatever "use_sliding_window" is.
  if (config.Has("layer_types")) return ApplyLayerTypes(config, window, model);
  if (!config.Bool("use_sliding_window", false)) return;
  for (LayerSpec& layer : block.layers) {
    if (!layer.rope) layer.window = window.value_or(0);
  }
}

}  // namespace

Family SmolLm3() {
  return {.model_type = "smollm3",
          .architecture = "SmolLM3ForCausalLM",
          .defaults = {.num_kv_heads = 4,
                       .max_position_embeddings = 32768,
                       .rope_theta = 2000000.0,
                       .tie_word_embeddings = true},
          .read_block = ReadBlock};
}

}  // namespace trainerd::engine::families
