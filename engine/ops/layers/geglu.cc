// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/layers/geglu.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>

#include <vector>

namespace trainerd::engine {
namespace {

constexpr char kApproximation[] = "tanh";

at::Tensor Forward(const at::Tensor& gate_up) {
  at::NoGradGuard no_grad;
  const int64_t size = gate_up.size(1) / 2;
  return at::gelu(gate_up.narrow(1, 0, size), kApproximation) * gate_up.narrow(1, size, size);
}

// In fp32, rounded once.
at::Tensor Backward(const at::Tensor& d_out, const at::Tensor& gate_up) {
  const int64_t size = gate_up.size(1) / 2;
  const at::Tensor d = d_out.to(at::kFloat), gate = gate_up.narrow(1, 0, size).to(at::kFloat),
                   up = gate_up.narrow(1, size, size).to(at::kFloat);
  return at::cat(
             {at::gelu_backward(d * up, gate, kApproximation), d * at::gelu(gate, kApproximation)},
             1)
      .to(gate_up.scalar_type());
}

}  // namespace

Activated GeGlu(const at::Tensor& gate_up) {
  const at::Tensor saved = Detached(gate_up);
  at::Tensor out = Forward(saved);
  if (!IsRecording() || !gate_up.requires_grad()) return {out, nullptr};
  RecordBackward("GeGlu", {gate_up}, {out}, [saved](std::vector<at::Tensor>& gradients) {
    return std::vector<at::Tensor>{Backward(gradients[0], saved)};
  });
  return {out, [saved] { return Forward(saved); }};
}

}  // namespace trainerd::engine
