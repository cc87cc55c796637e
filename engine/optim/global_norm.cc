// SPDX-License-Identifier: Apache-2.0
#include "engine/optim/global_norm.h"

#include <ATen/core/grad_mode.h>

#include "engine/ops/op_table.h"

namespace trainerd::engine {

at::Tensor GlobalNorm(const at::Tensor& flat_grad) {
  const at::NoGradGuard no_grad;
  return OpsFor(flat_grad.device()).sum_of_squares(flat_grad).sqrt().to(at::kFloat);
}

}  // namespace trainerd::engine
