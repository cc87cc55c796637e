// SPDX-License-Identifier: Apache-2.0
// The adapter's ops of the CPU table: OpTable::low_rank_forward and low_rank_backward.
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/ops/weights.h"

namespace trainerd::engine::cpu {

at::Tensor LowRankForward(const at::Tensor& x, const at::Tensor& y, const LowRankWeights& weights);
void LowRankBackward(const LowRankWeights& weights, const at::Tensor& d_y, const at::Tensor& x,
                     const at::Tensor& u_TR, const at::Tensor& d_x);

}  // namespace trainerd::engine::cpu
