// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/linear.h"

#include <ATen/core/grad_mode.h>

#include "engine/ops/gemm.h"
#include "engine/ops/op_table.h"

namespace trainerd::engine {

at::Tensor Linear(const at::Tensor& x, const LinearWeights& weights, const Recompute& recompute) {
  at::Tensor y;
  {
    at::NoGradGuard no_grad;
    y = MatMul(Detached(x), weights.weight.t());
    if (weights.bias.defined()) y.add_(weights.bias);
  }
  if (!IsRecording()) return y;

  auto backward = [weights, recompute, kept = recompute ? at::Tensor() : Detached(x)](
                      std::vector<at::Tensor>& gradients) {
    const at::Tensor& d_y = gradients[0];
    AddMatMul(weights.weight_grad, d_y.t(), recompute ? recompute() : kept);
    if (weights.bias.defined()) OpsFor(d_y.device()).add_column_sums(weights.bias_grad, d_y);
    return std::vector<at::Tensor>{MatMul(d_y, weights.weight)};
  };
  RecordBackward("Linear", {x}, {y}, std::move(backward));
  return y;
}

}  // namespace trainerd::engine
