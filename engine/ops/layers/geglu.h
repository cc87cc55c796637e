// SPDX-License-Identifier: Apache-2.0
// The gated activation with GELU instead of SiLU, in plain ATen.
// Source: Shazeer, "GLU Variants Improve Transformer" (2020).
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/ops/layers/swiglu.h"

namespace trainerd::engine {

// gelu(gate) × up with the tanh approximation of GELU. Shapes as SwiGlu.
Activated GeGlu(const at::Tensor& gate_up);

}  // namespace trainerd::engine
