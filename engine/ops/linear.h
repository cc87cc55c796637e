// SPDX-License-Identifier: Apache-2.0
// Linear layer whose weight gradient is accumulated in the fp32 main gradient.
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/ops/autograd.h"
#include "engine/ops/weights.h"

namespace trainerd::engine {

// x·Wᵀ (+ bias). Shapes: x [T, in] → [T, out]. With `recompute`, x is not kept for the backward but
// recomputed. Records a backward only if x requires a gradient or a weight trains; computes the
// gradient of x only in the first case.
at::Tensor Linear(const at::Tensor& x, const LinearWeights& weights,
                  const Recompute& recompute = nullptr);

}  // namespace trainerd::engine
