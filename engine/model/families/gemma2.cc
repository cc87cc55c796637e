// SPDX-License-Identifier: Apache-2.0
// Gemma 2: norms before and behind each branch, GeGLU, soft caps of scores and logits, and a window
// in every other layer.
// Source: transformers 5.23.0, models/gemma2; Gemma Team, "Gemma 2" (2024).
#include "engine/model/families/gemma.h"

namespace trainerd::engine::families {
namespace {

void ReadBlock(ConfigReader& config, ModelConfig& model) {
  ReadGemmaBlock(config, {.attention_soft_cap = 50.0, .logits_soft_cap = 30.0, .pattern = 2},
                 model);
}

}  // namespace

Family Gemma2() {
  Family family = GemmaFamily();
  family.model_type = "gemma2";
  family.architecture = "Gemma2ForCausalLM";
  family.defaults.max_position_embeddings = 8192;
  family.read_block = ReadBlock;
  return family;
}

}  // namespace trainerd::engine::families
