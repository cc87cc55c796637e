// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/layers/swiglu.h"

#include <ATen/core/grad_mode.h>

#include "engine/ops/op_table.h"

namespace trainerd::engine {

Activated SwiGlu(const at::Tensor& gate_up) {
  const OpTable& ops = OpsFor(gate_up.device());
  at::Tensor out;
  {
    at::NoGradGuard no_grad;
    out = ops.swiglu_forward(Detached(gate_up));
  }
  if (!IsRecording() || !gate_up.requires_grad()) return {out, nullptr};
  RecordBackward("SwiGlu", {gate_up}, {out},
                 [&ops, saved = Detached(gate_up)](std::vector<at::Tensor>& gradients) {
                   return std::vector<at::Tensor>{ops.swiglu_backward(gradients[0], saved)};
                 });
  // The node of this op overwrites gate_up only after the next layer has recomputed its input,
  // because it waits for that layer's gradient.
  return {out, [&ops, saved = Detached(gate_up)] { return ops.swiglu_forward(saved); }};
}

}  // namespace trainerd::engine
