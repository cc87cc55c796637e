// SPDX-License-Identifier: Apache-2.0
// What the text models of Gemma 2 and 3 have in common. No LibTorch.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/model/families/family.h"

namespace trainerd::engine {

// The names and defaults, without model type, architecture and read_block.
Family GemmaFamily();

// Values of keys that config.json may omit.
struct GemmaDefaults {
  std::optional<double> attention_soft_cap, logits_soft_cap;
  // Of this many layers, the last one has no window.
  int64_t pattern = 0;
};

// Fills model.block. Gemma trains with causal attention alone: bidirectional models are refused.
void ReadGemmaBlock(ConfigReader& config, const GemmaDefaults& defaults, ModelConfig& model);

}  // namespace trainerd::engine
