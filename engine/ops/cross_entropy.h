// SPDX-License-Identifier: Apache-2.0
// The head: logits, loss and both gradients, chunk by chunk, so that the logits of a batch never
// exist at once. Gradients are computed in the forward pass; the decoder passes the gradient of the
// hidden states to autograd. Source: the idea is Liger Kernel's fused linear cross-entropy (Hsu et
// al., 2024).
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/ops/weights.h"

namespace trainerd::engine {

struct LinearCrossEntropyOptions {
  double gradient_scale = 1.0;
  bool with_gradient = true;
  int64_t buffer_elements = 0;  // logits that exist at once; 0 = by device
};

struct LinearCrossEntropyResult {
  at::Tensor loss_sum;  // fp32 scalar: sum of the targets' negative log-likelihoods, not scaled
  // gradient_scale × its gradient; undefined without gradient, or if hidden requires none.
  at::Tensor d_hidden_RD;
};

// Shapes: hidden [R, D], only rows that carry loss; targets int64 [R]; head.weight [V, D]. Adds
// gradient_scale × gradient to head.grad if the head trains.
LinearCrossEntropyResult LinearCrossEntropy(const at::Tensor& hidden_RD,
                                            const at::Tensor& targets_R, const WeightAndGrad& head,
                                            const LinearCrossEntropyOptions& options);

}  // namespace trainerd::engine
