// SPDX-License-Identifier: Apache-2.0
// The head: logits, loss and both gradients, chunk by chunk, so that the logits of a batch never
// exist at once. Gradients are computed in the forward pass; the decoder passes the gradient of the
// hidden states to autograd. Source: the idea is Liger Kernel's fused linear cross-entropy (Hsu et
// al., 2024).
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>

#include "engine/ops/lora/dropout.h"
#include "engine/ops/surprise.h"
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
                      const LogitsOptions& options, const LowRankWeights& low_rank = {});

// Weights of the targets by how surprising they are for the model (train.token_weighting). They are
// constants for the gradient.
struct TokenWeighting {
  SurpriseMeasure measure = SurpriseMeasure::kEntropy;
  // true: min + (max − min) × sigmoid(z) with z = (x − mean) / standard deviation (of the sample)
  // over all targets of the call; z = x if the deviation is at most 1e-6, or for one target.
  // false: x cut to min … max.
  bool normalize = true;
  double min_weight = 0.1;
  double max_weight = 10.0;
};

struct LinearCrossEntropyOptions {
  LogitsOptions logits;
  // As label_smoothing of torch.nn.functional.cross_entropy.
  double label_smoothing = 0.0;
  // fp32 [R]: factors of the targets' losses; undefined: 1.
  at::Tensor weights_R;
  // Its weights are multiplied with weights_R.
  std::optional<TokenWeighting> token_weighting;
  // If set: the losses of all targets (TargetLosses) → their weights, fp32 [R], instead of those
  // above. They are constants for the gradient. Not called without targets.
  std::function<at::Tensor(const at::Tensor& losses_R)> weigh;
  double gradient_scale = 1.0;
  bool with_gradient = true;
  // The head's adapter and its dropout.
  LowRankWeights low_rank;
  DropoutRows dropout;
  // Logits that exist at once; 0 = by device.
  int64_t buffer_elements = 0;
};

struct LinearCrossEntropyResult {
  // fp32 scalar: sum of the targets' weighted losses, not scaled.
  at::Tensor loss_sum;
  // gradient_scale × its gradient; undefined without gradient, or if hidden requires none.
  at::Tensor d_hidden_RD;
};

// Shapes: hidden [R, D], only rows that carry loss; targets int64 [R]; head.weight [V, D]. Adds
// gradient_scale × gradient to head.grad if the head trains, and to those of its adapter.
// Normalized token weighting and `weigh` compute the logits of all chunks but one twice: the
// statistics precede the first weight.
LinearCrossEntropyResult LinearCrossEntropy(const at::Tensor& hidden_RD,
                                            const at::Tensor& targets_R, const WeightAndGrad& head,
                                            const LinearCrossEntropyOptions& options);

// fp32 [R]: the negative log-likelihood of each target, without smoothing and weights; no gradient.
at::Tensor TargetLosses(const at::Tensor& hidden_RD, const at::Tensor& targets_R,
                        const at::Tensor& weight_VD, const LinearCrossEntropyOptions& options);

}  // namespace trainerd::engine
