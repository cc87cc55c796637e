// SPDX-License-Identifier: Apache-2.0
// Angles of the rotary position embedding. Computed in fp32 in the order of transformers' rotary
// classes, so that the angles are the same.
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/model/config/block_spec.h"
#include "engine/ops/layers/rotary_attention.h"

namespace trainerd::engine {

// fp32 [R / 2], R the rotated elements of a head: angle per position of each pair of them.
at::Tensor InverseFrequencies(const RopeSpec& rope, int64_t head_dim, at::Device device);

// cos and sin of positions (int64 [T]) × frequencies, × `magnitude`, rounded to `compute_dtype` and
// stored in fp32.
RotaryTables MakeRotaryTables(const at::Tensor& inverse_frequencies, double magnitude,
                              const at::Tensor& positions, at::ScalarType compute_dtype);

}  // namespace trainerd::engine
