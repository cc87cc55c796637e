// SPDX-License-Identifier: Apache-2.0
// The terms of an adapter as products of matrices (gemm.h): the reference table's ops, and the
// parts of them that dropout leaves as they are. Shapes as in low_rank.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "engine/ops/weights.h"

namespace trainerd::engine {

// As OpTable::low_rank_forward and OpTable::low_rank_backward.
at::Tensor LowRankForwardProducts(const at::Tensor& x, const at::Tensor& y,
                                  const LowRankWeights& weights);
void LowRankBackwardProducts(const LowRankWeights& weights, const at::Tensor& d_y,
                             const at::Tensor& x, const at::Tensor& u_TR, const at::Tensor& d_x);

// Adds each term's u·Bᵀ to its columns of y.
void AddLowRankUp(const at::Tensor& y, const at::Tensor& u_TR, const LowRankWeights& weights);
// Adds to the gradients of B; returns the gradient of each term's dropout(x)·Aᵀ.
std::vector<at::Tensor> LowRankUpBackward(const LowRankWeights& weights, const at::Tensor& d_y,
                                          const at::Tensor& u_TR);

at::Tensor JoinedColumns(const std::vector<at::Tensor>& parts);

}  // namespace trainerd::engine
