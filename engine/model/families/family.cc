// SPDX-License-Identifier: Apache-2.0
#include "engine/model/families/family.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace trainerd::engine {

void ReadSlidingWindow(ConfigReader& config, ModelConfig& model) {
  if (!config.Has("sliding_window")) return;
  const int64_t window = config.PositiveInt("sliding_window");
  std::vector<LayerSpec>& layers = model.block.layers;
  if (config.Has("layer_types")) {
    const std::vector<std::string> types = config.TextList("layer_types", model.num_layers);
    for (size_t i = 0; config.status().ok() && i < layers.size(); ++i) {
      if (types[i] == "sliding_attention") {
        layers[i].window = window;
      } else if (types[i] != "full_attention") {
        config.Unsupported(
            absl::StrCat("layer type \"", types[i],
                         "\" is not supported; supported: full_attention, sliding_attention"));
      }
    }
    return;
  }
  const size_t first = static_cast<size_t>(config.NonNegativeInt("max_window_layers", 0));
  for (size_t i = first; i < layers.size(); ++i) layers[i].window = window;
}

}  // namespace trainerd::engine
