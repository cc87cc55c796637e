// SPDX-License-Identifier: Apache-2.0
// Weights as the ops take them: the value to compute with, and the fp32 main gradient that the op's
// backward adds to. An undefined main gradient means that the weight is frozen: the op skips its
// gradient. Gradients of weights never pass through autograd. They are accumulated in place, so one
// buffer serves any number of microbatches.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace trainerd::engine {

// The matrix and the bias of a linear layer.
struct LinearWeights {
  at::Tensor weight;       // [out, in], compute dtype
  at::Tensor weight_grad;  // [out, in], fp32; undefined if frozen
  at::Tensor bias;         // [out] or undefined
  at::Tensor bias_grad;    // fp32 [out]; undefined without bias or if frozen
  // Further matrices whose outputs follow those of `weight`. Only used where some matrices of one
  // layer train and others do not (for example if k_proj alone is frozen).
  std::vector<LinearWeights> more;
};

// The vector of a norm, or the embedding matrix.
struct WeightAndGrad {
  at::Tensor weight;
  at::Tensor grad;  // fp32; undefined if frozen
};

}  // namespace trainerd::engine
