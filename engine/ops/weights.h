// SPDX-License-Identifier: Apache-2.0
// Weights as the ops take them: the value to compute with and the fp32 main gradient that the op's
// backward adds to. Gradients of weights never pass through autograd: they are accumulated in
// place, so there is one buffer of them for any number of microbatches.
#pragma once

#include <ATen/core/Tensor.h>

namespace trainerd::engine {

// A matrix (and bias) of a linear layer.
struct LinearWeights {
  at::Tensor weight;       // [out, in], compute dtype
  at::Tensor weight_grad;  // [out, in], fp32
  at::Tensor bias;         // [out] or undefined
  at::Tensor bias_grad;    // fp32 [out] or undefined
};

// A vector of a norm, or the embedding matrix.
struct WeightAndGrad {
  at::Tensor weight;
  at::Tensor grad;  // fp32
};

}  // namespace trainerd::engine
