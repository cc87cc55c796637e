// SPDX-License-Identifier: Apache-2.0
// The object of config.json that describes rotary position embeddings. No LibTorch.
// Source: transformers 5.23.0, modeling_rope_utils.py.
#pragma once

#include <cstdint>

#include "engine/model/config/block_spec.h"
#include "engine/model/config/config_reader.h"

namespace trainerd::engine {

// What the keys beside the object say.
struct RopeDefaults {
  double theta = 10000.0;
  int64_t max_position_embeddings = 0;
  // "original_max_position_embeddings"; 0: absent.
  int64_t original_max_position_embeddings = 0;
  // A token has a position on each of three axes (rope_type "mrope" or "default"). Those of text
  // are equal, so that its angles are those of one axis.
  bool is_multimodal = false;
};

// `rope` reads rope_parameters, or rope_scaling of older files.
// Errors, kept in the reader: Unimplemented for another rope_type than default, linear, llama3 and
// longrope.
RopeSpec ReadRopeParameters(ConfigReader& rope, const RopeDefaults& defaults);

}  // namespace trainerd::engine
