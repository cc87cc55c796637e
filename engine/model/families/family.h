// SPDX-License-Identifier: Apache-2.0
// A model family: what its config.json means and how its weights are called. No LibTorch.
//
// To add a family: write families/NAME.cc with its Family, add a line to families.cc, and write
// tests/golden/model/NAME.json with a "config" (make_goldens.py computes the rest). If the layers
// compute something that BlockSpec cannot express, extend BlockSpec and the decoder first.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/model/config/config_reader.h"
#include "engine/model/config/model_config.h"

namespace trainerd::engine {

// Values of keys that config.json may omit.
struct ConfigDefaults {
  // 0: num_attention_heads, which null means in every family.
  int64_t num_kv_heads = 0;
  // 0: hidden_size / num_attention_heads.
  int64_t head_dim = 0;
  int64_t max_position_embeddings = 2048;
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000.0;
  bool tie_word_embeddings = false;
  // The key that names the activation function, and its value.
  const char* activation_key = "hidden_act";
  const char* activation = "silu";
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

// "sliding_window": `fallback` if the key is absent, nullopt if it is null.
std::optional<int64_t> SlidingWindow(ConfigReader& config, std::optional<int64_t> fallback);
// Sets the window of the layers that "layer_types", which must be there, names sliding_attention.
// Errors: another type; a sliding layer without a window.
void ApplyLayerTypes(ConfigReader& config, std::optional<int64_t> window, ModelConfig& model);
// The window of Qwen 2 and 3: none without "use_sliding_window"; else of the layers that
// "layer_types" names, or of those from "max_window_layers" on.
void ReadSwitchedWindow(ConfigReader& config, ModelConfig& model);

}  // namespace trainerd::engine
