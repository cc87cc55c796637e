// SPDX-License-Identifier: Apache-2.0
// RMSNorm, fused with the residual addition before it.
// Source: Zhang & Sennrich, "Root Mean Square Layer Normalization" (2019); rounding as Qwen2RMSNorm
// of transformers: fp32, cast, then × weight.
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/ops/autograd.h"
#include "engine/ops/weights.h"

namespace trainerd::engine {

struct AddNormed {
  at::Tensor sum_TD;  // x + delta: the residual stream
  at::Tensor normed_TD;
  // For the linear layer that takes `normed`; null if no backward is recorded.
  Recompute recompute_normed;
};

// sum = x + delta (delta undefined: x), normed = rms_norm(sum) × weight. If neither x nor delta
// requires a gradient, `sum` has no history, and `normed` has one only if the weight trains.
AddNormed AddRmsNorm(const at::Tensor& x_TD, const at::Tensor& delta_TD,
                     const WeightAndGrad& weight, double eps);

}  // namespace trainerd::engine
