// SPDX-License-Identifier: Apache-2.0
// The entry dequantize_nf4 in plain ATen.
#include "engine/ops/nf4.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include "engine/ops/reference/reference_ops.h"

namespace trainerd::engine::reference {
namespace {

// levels[index].
at::Tensor Select(const at::Tensor& levels, const at::Tensor& index) {
  return levels.to(index.device()).index_select(0, index.to(at::kInt));
}

// Each element `times` times, cut to `count`.
at::Tensor Repeated(const at::Tensor& x, int64_t times, int64_t count) {
  return x.unsqueeze(1).expand({-1, times}).reshape(-1).narrow(0, 0, count);
}

}  // namespace

void DequantizeNf4(const Nf4Matrix& matrix, const at::Tensor& out) {
  const at::Tensor levels = at::tensor(at::ArrayRef<float>(kNf4Levels.data(), kNf4Levels.size()));
  const int64_t blocks = matrix.scales.numel(), count = matrix.elements();
  const at::Tensor scales = Select(matrix.scale_levels, matrix.scales) *
                                Repeated(matrix.scale_scales, kNf4ScaleBlock, blocks) +
                            matrix.scale_mean;
  const at::Tensor codes =
      at::stack({matrix.codes.__rshift__(4), matrix.codes.bitwise_and(15)}, 1).flatten();
  out.view(-1).copy_(Select(levels, codes).narrow(0, 0, count) *
                     Repeated(scales, kNf4Block, count));
}

}  // namespace trainerd::engine::reference
