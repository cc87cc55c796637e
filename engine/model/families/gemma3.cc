// SPDX-License-Identifier: Apache-2.0
// The text models of Gemma 3: Gemma 2 with a norm of each query and key head, without soft caps,
// and with a RoPE of its own for the layers with a window.
// Source: transformers 5.23.0, models/gemma3; Gemma Team, "Gemma 3" (2025).
#include "engine/model/config/rope_parameters.h"
#include "engine/model/families/gemma.h"

namespace trainerd::engine::families {
namespace {

constexpr double kFullTheta = 1'000'000.0, kSlidingTheta = 10'000.0;

void ReadBlock(ConfigReader& config, ModelConfig& model) {
  ReadGemmaBlock(config, {.pattern = config.PositiveInt("sliding_window_pattern", 6)}, model);
  model.block.qk_norm = QkNorm::kPerHead;
  // transformers 5 has one object per type of layer; in 4, rope_scaling is that of full attention.
  ConfigReader ropes = config.Object("rope_parameters");
  const bool scaled = config.Has("rope_scaling");
  ConfigReader full = scaled ? config.Object("rope_scaling") : ropes.Object("full_attention");
  ConfigReader sliding = ropes.Object("sliding_attention");
  const RopeSpec full_rope =
      ReadRopeParameters(full, {.theta = config.PositiveNumber("rope_theta", kFullTheta)});
  const RopeSpec sliding_rope = ReadRopeParameters(
      sliding, {.theta = config.PositiveNumber("rope_local_base_freq", kSlidingTheta)});
  for (LayerSpec& layer : model.block.layers) {
    layer.rope = layer.window > 0 ? sliding_rope : full_rope;
  }
}

}  // namespace

Family Gemma3() {
  Family family = GemmaFamily();
  family.model_type = "gemma3_text";
  family.architecture = "Gemma3ForCausalLM";
  family.defaults.max_position_embeddings = 131'072;
  family.read_block = ReadBlock;
  return family;
}

}  // namespace trainerd::engine::families
