// SPDX-License-Identifier: Apache-2.0
// The terms that an adapter adds to a linear layer y = x·Wᵀ, and their backward. Linear and
// LinearCrossEntropy call them around their own product.
// Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021); scale and dropout
// as in PEFT. Legend: T tokens, R terms × rank.
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/ops/lora/dropout.h"
#include "engine/ops/weights.h"

namespace trainerd::engine {

// u = scale × dropout(x)·Aᵀ of every term; adds each term's u·Bᵀ to its columns of y. Shapes:
// x [T, in], y [T, out] → u [T, R]. The backward needs u.
at::Tensor LowRankForward(const at::Tensor& x, const at::Tensor& y, const LowRankWeights& weights,
                          const DropoutRows& dropout);

struct LowRankInputs {
  // What the forward had.
  at::Tensor x;
  at::Tensor u_TR;
  DropoutRows dropout;
};

// Adds to the gradients of A and B, and the gradient of x to d_x unless that is undefined.
void LowRankBackward(const LowRankWeights& weights, const at::Tensor& d_y,
                     const LowRankInputs& inputs, const at::Tensor& d_x);

}  // namespace trainerd::engine
