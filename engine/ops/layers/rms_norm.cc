// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/layers/rms_norm.h"

#include <ATen/core/grad_mode.h>

#include "engine/ops/fp32_gradient.h"
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
  const bool inputs_train =
      x_TD.requires_grad() || (delta_TD.defined() && delta_TD.requires_grad());
  if (!IsRecording() || !(inputs_train || weight.grad.defined()))
    return {result.sum_TD, result.normed_TD, nullptr};

  // Gradients of sum (absent unless the inputs train) and of normed.
  auto backward = [&ops, weight, sum = Detached(result.sum_TD),
                   rstd = result.rstd_T](std::vector<at::Tensor>& gradients) {
    const at::Tensor d_sum = gradients.size() == 2 ? gradients[0] : at::Tensor();
    const at::Tensor& d_normed = gradients.back();
    at::Tensor d_x = d_normed.defined()
                         ? ops.rms_norm_backward(d_sum, d_normed, sum, rstd, weight.weight,
                                                 Fp32Gradient(weight.grad).sum())
                         : d_sum;
    // x and delta get the same buffer: delta's consumers read it before the node of x overwrites
    // it, because that node waits for them.
    return std::vector<at::Tensor>{d_x, d_x};
  };
  if (inputs_train) {
    RecordBackward("AddRmsNorm", {x_TD, delta_TD}, {result.sum_TD, result.normed_TD},
                   std::move(backward));
  } else {
    RecordBackward("AddRmsNorm", {at::Tensor(), at::Tensor()}, {result.normed_TD},
                   std::move(backward));
  }
  return {result.sum_TD, result.normed_TD,
          [&ops, weight = weight.weight, sum = Detached(result.sum_TD), rstd = result.rstd_T] {
            return ops.rms_norm_apply(sum, rstd, weight);
          }};
}

}  // namespace trainerd::engine
