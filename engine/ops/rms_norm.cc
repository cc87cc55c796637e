// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/rms_norm.h"

#include <ATen/core/grad_mode.h>

#include "engine/ops/op_table.h"

namespace trainerd::engine {

AddNormed AddRmsNorm(const at::Tensor& x_TD, const at::Tensor& delta_TD,
                     const WeightAndGrad& weight, double eps) {
  const OpTable& ops = OpsFor(x_TD.device());
  RmsNormResult result;
  {
    at::NoGradGuard no_grad;
    result = ops.rms_norm_forward(Detached(x_TD), Detached(delta_TD), weight.weight, eps);
  }
  if (!IsRecording()) return {result.sum_TD, result.normed_TD, nullptr};

  auto backward = [&ops, weight, sum = Detached(result.sum_TD),
                   rstd = result.rstd_T](std::vector<at::Tensor>& gradients) {
    at::Tensor d_x = gradients[1].defined()
                         ? ops.rms_norm_backward(gradients[0], gradients[1], sum, rstd,
                                                 weight.weight, weight.grad)
                         : gradients[0];
    // x and delta get the same buffer: delta's consumers read it before the node of x overwrites
    // it, because that node waits for them.
    return std::vector<at::Tensor>{d_x, d_x};
  };
  RecordBackward("AddRmsNorm", {x_TD, delta_TD}, {result.sum_TD, result.normed_TD},
                 std::move(backward));
  return {result.sum_TD, result.normed_TD,
          [&ops, weight = weight.weight, sum = Detached(result.sum_TD), rstd = result.rstd_T] {
            return ops.rms_norm_apply(sum, rstd, weight);
          }};
}

}  // namespace trainerd::engine
