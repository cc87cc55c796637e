// SPDX-License-Identifier: Apache-2.0
#include "engine/optim/global_norm.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstdint>

#include "engine/ops/op_table.h"

namespace trainerd::engine {
namespace {

// Elements of a bf16 gradient that are converted to fp32 at a time.
constexpr int64_t kConverted = int64_t{1} << 22;

}  // namespace

at::Tensor GlobalNorm(const at::Tensor& flat_grad) {
  const at::NoGradGuard no_grad;
  const OpTable& ops = OpsFor(flat_grad.device());
  if (flat_grad.scalar_type() == at::kFloat)
    return ops.sum_of_squares(flat_grad).sqrt().to(at::kFloat);
  at::Tensor sum = at::zeros({}, flat_grad.options().dtype(at::kDouble));
  for (int64_t begin = 0; begin < flat_grad.numel(); begin += kConverted) {
    const int64_t size = std::min(kConverted, flat_grad.numel() - begin);
    sum.add_(ops.sum_of_squares(flat_grad.narrow(0, begin, size).to(at::kFloat)));
  }
  return sum.sqrt().to(at::kFloat);
}

}  // namespace trainerd::engine
