// SPDX-License-Identifier: Apache-2.0
// Euclidean norm of all gradients.
#pragma once

#include <ATen/core/Tensor.h>

namespace trainerd::engine {

// fp32 scalar tensor on the gradient's device, no host sync. Sums of squares are taken over fixed
// blocks in a fixed order: the same bits for any thread count. Not finite when any gradient is not.
at::Tensor GlobalNorm(const at::Tensor& flat_grad);

}  // namespace trainerd::engine
