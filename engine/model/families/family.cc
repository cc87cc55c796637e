// SPDX-License-Identifier: Apache-2.0
// Source of the windows: transformers 5.23.0, models/qwen2/configuration_qwen2.py.
#include "engine/model/families/family.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace trainerd::engine {
namespace {

// What transformers' Qwen configurations assume for an absent key.
constexpr int64_t kSlidingWindow = 4096;

}  // namespace

std::optional<int64_t> SlidingWindow(ConfigReader& config, std::optional<int64_t> fallback) {
  if (config.Has("sliding_window")) return config.PositiveInt("sliding_window");
  return config.Contains("sliding_window") ? std::nullopt : fallback;
}

void ApplyLayerTypes(ConfigReader& config, std::optional<int64_t> window, ModelConfig& model) {
  const std::vector<std::string> types = config.TextList("layer_types", model.num_layers);
  if (!config.status().ok()) return;
  std::vector<LayerSpec>& layers = model.block.layers;
  for (size_t i = 0; i < layers.size(); ++i) {
    if (types[i] == "sliding_attention") {
      if (!window) {
        return config.Invalid("layer_types",
                              "has sliding_attention, but the model has no window; set "
                              "sliding_window, and use_sliding_window: true, or name every layer "
                              "full_attention");
      }
      layers[i].window = *window;
    } else if (types[i] != "full_attention" && types[i] != "attention") {
      return config.Unsupported(
          absl::StrCat("layer type \"", types[i],
                       "\" is not supported; supported: full_attention, sliding_attention"));
    }
  }
}

void ReadSwitchedWindow(ConfigReader& config, ModelConfig& model,
                        int64_t default_max_window_layers) {
  std::optional<int64_t> window;
  if (config.Bool("use_sliding_window", false)) window = SlidingWindow(config, kSlidingWindow);
  if (config.Has("layer_types")) return ApplyLayerTypes(config, window, model);
  if (!window) return;
  const size_t first =
      static_cast<size_t>(config.NonNegativeInt("max_window_layers", default_max_window_layers));
  for (size_t i = first; i < model.block.layers.size(); ++i) model.block.layers[i].window = *window;
}

WeightNames VisionLanguageNames() {
  return {.decoder = "model.language_model",
          .vision = "model.visual",
          .older_decoder = "model",
          .older_vision = "visual"};
}

}  // namespace trainerd::engine
