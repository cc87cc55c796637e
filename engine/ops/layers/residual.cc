// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/layers/residual.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <vector>

#include "engine/ops/autograd.h"

namespace trainerd::engine {

AddNormed AddResidual(const at::Tensor& x_TD, const at::Tensor& delta_TD) {
  at::Tensor sum;
  {
    at::NoGradGuard no_grad;
    sum = delta_TD.defined() ? Detached(x_TD) + Detached(delta_TD) : Detached(x_TD);
  }
  at::Tensor again = Detached(sum);
  const bool inputs_train =
      x_TD.requires_grad() || (delta_TD.defined() && delta_TD.requires_grad());
  if (!IsRecording() || !inputs_train) return {sum, again, nullptr};
  RecordBackward("AddResidual", {x_TD, delta_TD}, {sum, again},
                 [](std::vector<at::Tensor>& gradients) {
                   at::Tensor d = gradients[0];
                   if (!d.defined()) {
                     d = gradients[1];
                   } else if (gradients[1].defined()) {
                     d.add_(gradients[1]);
                   }
                   // x and delta share the buffer, as in AddRmsNorm.
                   return std::vector<at::Tensor>{d, d};
                 });
  return {sum, again, nullptr};
}

at::Tensor Scale(const at::Tensor& x, double factor) {
  if (factor == 1.0) return x;
  at::Tensor out;
  {
    at::NoGradGuard no_grad;
    out = Detached(x) * factor;
  }
  if (!IsRecording() || !x.requires_grad()) return out;
  RecordBackward("Scale", {x}, {out}, [factor](std::vector<at::Tensor>& gradients) {
    return std::vector<at::Tensor>{gradients[0] * factor};
  });
  return out;
}

}  // namespace trainerd::engine
