// SPDX-License-Identifier: Apache-2.0
// The gated activation of the MLP. Source: Shazeer, "GLU Variants Improve Transformer" (2020).
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/ops/autograd.h"

namespace trainerd::engine {

// silu(gate) × up. Shapes: [T, 2F], gate in the first half of each row → [T, F].
struct Activated {
  at::Tensor out;
  Recompute recompute;  // for the linear layer that takes `out`; null if no backward is recorded
};
Activated SwiGlu(const at::Tensor& gate_up);

}  // namespace trainerd::engine
