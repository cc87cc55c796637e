// SPDX-License-Identifier: Apache-2.0
// The head: logits, loss and both gradients, chunk by chunk, so that the logits of a batch never
// exist at once. Gradients are computed in the forward pass; the decoder passes the gradient of the
// hidden states to autograd. Source: the idea is Liger Kernel's fused linear cross-entropy (Hsu et
// al., 2024).
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/ops/weights.h"

namespace trainerd::engine {

// How the logits follow from x = hidden·Wᵀ.
struct LogitsOptions {
  double scale = 1.0;
  // > 0: the scaled x becomes soft_cap × tanh(x / soft_cap).
  double soft_cap = 0.0;
};

// Logits [R, V] in the compute dtype.
at::Tensor HeadLogits(const at::Tensor& hidden_RD, const at::Tensor& weight_VD,
                      const LogitsOptions& options);

struct LinearCrossEntropyOptions {
  LogitsOptions logits;
  double gradient_scale = 1.0;
  bool with_gradient = true;
  // Logits that exist at once; 0 = by device.
  int64_t buffer_elements = 0;
};

struct LinearCrossEntropyResult {
  // fp32 scalar: sum of the targets' negative log-likelihoods, not scaled.
  at::Tensor loss_sum;
  // gradient_scale × its gradient; undefined without gradient, or if hidden requires none.
  at::Tensor d_hidden_RD;
};

// Shapes: hidden [R, D], only rows that carry loss; targets int64 [R]; head.weight [V, D]. Adds
// gradient_scale × gradient to head.grad if the head trains.
LinearCrossEntropyResult LinearCrossEntropy(const at::Tensor& hidden_RD,
                                            const at::Tensor& targets_R, const WeightAndGrad& head,
                                            const LinearCrossEntropyOptions& options);

}  // namespace trainerd::engine
