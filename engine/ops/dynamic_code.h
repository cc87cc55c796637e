// SPDX-License-Identifier: Apache-2.0
// The 8-bit data type of quantized moments: dynamic quantization with the 256 values and the
// rounding of bitsandbytes. Source: Dettmers et al., "8-bit Optimizers via Block-wise Quantization"
// (2022).
//
// Values have a varying number of bits for the exponent (powers of ten down to 1e-7) and the rest
// for the fraction, so that they are dense near 0. Rounding is that of bitsandbytes on the CPU: a
// share of the block's scale, -1 to 1, is rounded to one of 65,536 equidistant cells, and the
// nearest value to the cell is taken (the lower one of two).
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/ops/moment_blocks.h"

namespace trainerd::engine {

struct DynamicCode {
  at::Tensor values;   // fp32 [256], ascending, -1 < values[0] (signed) or 0 (unsigned), to 1
  at::Tensor nearest;  // uint8 [kDynamicCells]
};

// On `device`. Signed: for first moments. Unsigned: for second ones.
DynamicCode MakeDynamicCode(bool is_signed, at::Device device);

}  // namespace trainerd::engine
