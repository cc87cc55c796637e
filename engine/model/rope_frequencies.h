// SPDX-License-Identifier: Apache-2.0
// Angles of the rotary position embedding. Computed in fp32 in the order of transformers' rotary
// classes, so that the angles are the same.
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/model/config/block_spec.h"
#include "engine/ops/layers/rotary_attention.h"

namespace trainerd::engine {

// fp32 [R / 2], R the rotated elements of a head: angle per position of each pair of them.
struct RopeFrequencies {
  at::Tensor in_short;
  // Of documents of more than RopeSpec::original_positions tokens; undefined: as in short ones.
  at::Tensor in_long;
};
RopeFrequencies MakeRopeFrequencies(const RopeSpec& rope, int64_t head_dim, at::Device device);

// cos and sin of positions (int64 [T]) × frequencies, × RopeSpec::magnitude, rounded to
// `compute_dtype` and stored in fp32. `lengths_T`, int64: tokens of the document that each position
// belongs to; needed where documents can be long.
RotaryTables MakeRotaryTables(const RopeSpec& rope, const RopeFrequencies& frequencies,
                              const at::Tensor& positions_T, const at::Tensor& lengths_T,
                              at::ScalarType compute_dtype);

}  // namespace trainerd::engine
