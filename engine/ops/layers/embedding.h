// SPDX-License-Identifier: Apache-2.0
// Rows of a matrix: the token embedding, and the selection of the rows that carry loss.
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/ops/weights.h"

namespace trainerd::engine {

// weight[ids], with an adapter + scale × (B A)ᵀ[ids], where A is [rank, V] and B [D, rank]; as in
// PEFT without dropout. Shapes: ids int64 [T] → [T, D]. The beginning of the graph. A frozen
// embedding without an adapter has no history.
at::Tensor Embedding(const at::Tensor& ids_T, const WeightAndGrad& weight,
                     const LowRankWeights& low_rank = {});

// x[rows]; rows int64, each at most once. Gradients of the other rows are 0. Records a backward
// only if x requires a gradient.
at::Tensor SelectRows(const at::Tensor& x, const at::Tensor& rows);

}  // namespace trainerd::engine
