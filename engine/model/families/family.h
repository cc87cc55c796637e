// SPDX-License-Identifier: Apache-2.0
// A model family: what its config.json means and how its weights are called. No LibTorch.
// README.md says how to add one.
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
  // "gelu" names the tanh approximation, as in the first files of Gemma.
  bool gelu_is_tanh = false;
  // RopeDefaults::is_multimodal.
  bool has_multimodal_rope = false;
};

struct Family {
  // "model_type" and "architectures" of config.json.
  std::string_view model_type;
  std::string_view architecture;
  ConfigDefaults defaults = {};
  WeightNames names = {};
  // The keys of the language model are those of the object "text_config", if the file has one.
  bool has_text_config = false;
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
// "layer_types" names, or of those from "max_window_layers" on, which has this default.
void ReadSwitchedWindow(ConfigReader& config, ModelConfig& model,
                        int64_t default_max_window_layers = 28);
// The names in vision-language models of the transformers library.
WeightNames VisionLanguageNames();

}  // namespace trainerd::engine
