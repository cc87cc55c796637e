// SPDX-License-Identifier: Apache-2.0
// Linear layer whose weight gradient is accumulated in the fp32 main gradient.
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/ops/autograd.h"
#include "engine/ops/lora/dropout.h"
#include "engine/ops/weights.h"

namespace trainerd::engine {

// x·Wᵀ (+ bias) with the terms of the layer's adapter. Shapes: x [T, in] → [T, out]. With
// `recompute`, x is not kept for the backward but recomputed. `dropout` is that of the adapter.
// Records a backward if x requires a gradient, a weight trains or there is an adapter; computes the
// gradient of x only in the first case.
at::Tensor Linear(const at::Tensor& x, const LinearWeights& weights,
                  const Recompute& recompute = nullptr, const DropoutRows& dropout = {});

}  // namespace trainerd::engine
