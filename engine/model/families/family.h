// SPDX-License-Identifier: Apache-2.0
// A model family: what its config.json means and how its weights are called. No LibTorch.
//
// To add a family: write families/NAME.cc with its Family, add a line to families.cc, and write
// tests/golden/model/NAME.json with a "config" (make_goldens.py computes the rest). If the layers
// compute something that BlockSpec cannot express, extend BlockSpec and the decoder first.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/model/config_reader.h"
#include "engine/model/model_config.h"

namespace trainerd::engine {

// Values of keys that config.json may omit.
struct ConfigDefaults {
  // 0: num_attention_heads.
  int64_t num_kv_heads = 0;
  // 0: hidden_size / num_attention_heads.
  int64_t head_dim = 0;
  int64_t max_position_embeddings = 2048;
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000.0;
  bool tie_word_embeddings = false;
};

struct Family {
  // "model_type" and "architectures" of config.json.
  std::string_view model_type;
  std::string_view architecture;
  ConfigDefaults defaults = {};
  WeightNames names = {};
  // Fills model.block from the family's keys. The sizes, the activation and the RoPE of every layer
  // are set before.
  void (*read_block)(ConfigReader& config, ModelConfig& model);
};

// Sets the window of the layers that slide: those of "layer_types", else those from
// "max_window_layers" on, else all. Without "sliding_window" no layer slides.
void ReadSlidingWindow(ConfigReader& config, ModelConfig& model);

}  // namespace trainerd::engine
