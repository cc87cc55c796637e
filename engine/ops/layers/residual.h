// SPDX-License-Identifier: Apache-2.0
// The residual stream where no norm follows the addition, and factors of a branch or the embedding.
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/ops/layers/rms_norm.h"

namespace trainerd::engine {

// sum = x + delta (delta undefined: x). normed_TD is the sum again, as a tensor of its own, because
// each tensor of the graph has one consumer.
AddNormed AddResidual(const at::Tensor& x_TD, const at::Tensor& delta_TD);

// x × factor; x itself if the factor is 1.
at::Tensor Scale(const at::Tensor& x, double factor);

}  // namespace trainerd::engine
