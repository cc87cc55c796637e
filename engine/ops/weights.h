// SPDX-License-Identifier: Apache-2.0
// Weights as the ops take them: the value to compute with, and the main gradient (fp32 or bf16)
// that the op's backward adds to. An undefined main gradient means that the weight is frozen: the
// op skips its gradient. Gradients of weights never pass through autograd. They are accumulated in
// place, so one buffer serves any number of microbatches.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "engine/ops/nf4.h"

namespace trainerd::engine {

// The vector of a norm, a matrix of an adapter, or the embedding matrix.
struct WeightAndGrad {
  at::Tensor weight;
  at::Tensor grad;  // undefined if frozen
};

// A term of an adapter (LoRA): columns [begin, begin + out) of the layer's output get
// scale × (dropout(x)·Aᵀ)·Bᵀ.
struct LowRankTerm {
  WeightAndGrad a;  // [rank, in]
  WeightAndGrad b;  // [out, rank]
  int64_t begin = 0;
  // Selects the random numbers of the dropout: no two terms of a model have the same.
  uint64_t stream = 0;
};

// The adapter of a layer. A and B train.
struct LowRankWeights {
  // Empty: the layer has no adapter. All of the same rank.
  std::vector<LowRankTerm> terms;
  // The matrices A of the terms, one below the other: [terms × rank, in].
  WeightAndGrad a;
  double scale = 1.0;
  // Probability that an element of x becomes 0 in a training step.
  double dropout = 0.0;
};

// The matrix and the bias of a linear layer.
struct LinearWeights {
  at::Tensor weight;       // [out, in], compute dtype
  at::Tensor weight_grad;  // [out, in]; undefined if frozen
  at::Tensor bias;         // [out] or undefined
  at::Tensor bias_grad;    // [out]; undefined without bias or if frozen
  // Of a quantized matrix, which is frozen: its members, one below the other. `weight` then has
  // shape and dtype alone (device meta).
  std::vector<Nf4Matrix> nf4;
  // Further matrices whose outputs follow those of `weight`. Only used where some matrices of one
  // layer train and others do not (for example if k_proj alone is frozen).
  std::vector<LinearWeights> more;
  // Of the first entry alone; its columns count over the outputs of all matrices.
  LowRankWeights low_rank;
};

}  // namespace trainerd::engine
