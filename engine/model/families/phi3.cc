// SPDX-License-Identifier: Apache-2.0
// Phi-3 and Phi-4-mini: Llama with query, key and value, and gate and up, in one matrix of the file
// each. Phi-4-mini rotates a part of each head.
// Source: transformers 5.23.0, models/phi3.
#include "absl/strings/str_cat.h"
#include "engine/model/families/family.h"

namespace trainerd::engine::families {
namespace {

void ReadBlock(ConfigReader& config, ModelConfig& model) {
  const std::optional<int64_t> window = SlidingWindow(config, std::nullopt);
  ConfigReader rope = config.Object("rope_parameters");
  const double rotated = rope.PositiveNumber("partial_rotary_factor",
                                             config.PositiveNumber("partial_rotary_factor", 1.0));
  const auto rotary_dim = static_cast<int64_t>(rotated * static_cast<double>(model.head_dim));
  if (rotary_dim < 2 || rotary_dim > model.head_dim || rotary_dim % 2 != 0) {
    return config.Invalid("partial_rotary_factor",
                          absl::StrCat("rotates ", rotary_dim, " of ", model.head_dim,
                                       " elements of a head; it must be an even number from 2 on"));
  }
  for (LayerSpec& layer : model.block.layers) {
    layer.window = window.value_or(0);
    layer.rope->rotary_dim = rotary_dim;
  }
}

}  // namespace

Family Phi3() {
  return {.model_type = "phi3",
          .architecture = "Phi3ForCausalLM",
          .defaults = {.max_position_embeddings = 4096, .rms_norm_eps = 1e-5},
          .names = {.joint_qkv = "self_attn.qkv_proj", .joint_gate_up = "mlp.gate_up_proj"},
          .read_block = ReadBlock};
}

}  // namespace trainerd::engine::families
