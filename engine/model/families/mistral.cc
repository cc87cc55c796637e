// SPDX-License-Identifier: Apache-2.0
// Mistral: every layer has the sliding window, unless it is null. With "layer_types", transformers
// makes a Ministral of it, which is the same but for the layers without window.
// Source: transformers 5.23.0, models/mistral and models/ministral.
#include "engine/model/families/family.h"

namespace trainerd::engine::families {
namespace {

void ReadBlock(ConfigReader& config, ModelConfig& model) {
  const std::optional<int64_t> window = SlidingWindow(config, 4096);
  if (config.Has("layer_types")) return ApplyLayerTypes(config, window, model);
  for (LayerSpec& layer : model.block.layers) layer.window = window.value_or(0);
}

}  // namespace

Family Mistral() {
  return {.model_type = "mistral",
          .architecture = "MistralForCausalLM",
          .defaults = {.num_kv_heads = 8, .max_position_embeddings = 131072},
          .read_block = ReadBlock};
}

}  // namespace trainerd::engine::families
