// SPDX-License-Identifier: Apache-2.0
// The CPU's entry dequantize_nf4.
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/ops/nf4.h"

namespace trainerd::engine::cpu {

void DequantizeNf4(const Nf4Matrix& matrix, const at::Tensor& out);

}  // namespace trainerd::engine::cpu
