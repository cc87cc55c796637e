// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/cross_entropy.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "engine/ops/autograd.h"
#include "engine/ops/gemm.h"
#include "engine/ops/op_table.h"

namespace trainerd::engine {
namespace {

// On CUDA the reference needs another 4 bytes per element temporarily: 2 GiB.
int64_t BufferElements(bool is_cuda) { return int64_t{1} << (is_cuda ? 29 : 26); }

// Rows per chunk: enough that adding to the weight's gradient (V × D elements read and written per
// chunk) costs little beside the products, within a bounded buffer of logits. Chunks are of equal
// size, so that few shapes occur.
int64_t RowsPerChunk(int64_t rows, int64_t vocabulary, int64_t buffer_elements) {
  const int64_t most = std::max<int64_t>(1, buffer_elements / vocabulary);
  const int64_t chunks = (rows + most - 1) / most;
  return (rows + chunks - 1) / chunks;
}

// x = hidden·Wᵀ → logits, in place.
void ToLogits(const at::Tensor& x_RV, const LogitsOptions& options) {
  if (options.scale != 1.0) x_RV.mul_(options.scale);
  if (options.soft_cap > 0.0) x_RV.div_(options.soft_cap).tanh_().mul_(options.soft_cap);
}

// Gradient of the logits → gradient of x, in place. `logits` is defined if there is a cap.
void ToLogitsBackward(const at::Tensor& d_RV, const at::Tensor& logits_RV,
                      const LogitsOptions& options) {
  if (options.soft_cap > 0.0) {
    d_RV.copy_(d_RV.to(at::kFloat) *
               (1.0 - (logits_RV.to(at::kFloat) / options.soft_cap).square()));
  }
  if (options.scale != 1.0) d_RV.mul_(options.scale);
}

}  // namespace

at::Tensor HeadLogits(const at::Tensor& hidden_RD, const at::Tensor& weight_VD,
                      const LogitsOptions& options) {
  at::NoGradGuard no_grad;
  at::Tensor logits = MatMul(Detached(hidden_RD), weight_VD.t());
  ToLogits(logits, options);
  return logits;
}

LinearCrossEntropyResult LinearCrossEntropy(const at::Tensor& hidden_RD,
                                            const at::Tensor& targets_R, const WeightAndGrad& head,
                                            const LinearCrossEntropyOptions& options) {
  at::NoGradGuard no_grad;
  const at::Tensor hidden = Detached(hidden_RD);
  const OpTable& ops = OpsFor(hidden.device());
  const int64_t rows = hidden.size(0), vocabulary = head.weight.size(0);

  LinearCrossEntropyResult result;
  result.loss_sum = at::zeros({}, hidden.options().dtype(at::kFloat));
  const bool with_d_hidden = options.with_gradient && hidden_RD.requires_grad();
  const bool with_d_head = options.with_gradient && head.grad.defined();
  if (with_d_hidden) result.d_hidden_RD = at::empty(hidden.sizes(), hidden.options());
  if (rows == 0) return result;

  const int64_t chunk = RowsPerChunk(
      rows, vocabulary,
      options.buffer_elements > 0 ? options.buffer_elements : BufferElements(hidden.is_cuda()));
  at::Tensor buffer = at::empty({chunk, vocabulary}, hidden.options());
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    const int64_t count = std::min(chunk, rows - begin);
    const at::Tensor h = hidden.narrow(0, begin, count);
    const at::Tensor logits = buffer.narrow(0, 0, count);
    MatMulOut(logits, h, head.weight.t());
    ToLogits(logits, options.logits);
    const at::Tensor kept = (with_d_hidden || with_d_head) && options.logits.soft_cap > 0.0
                                ? logits.clone()
                                : at::Tensor();
    at::Tensor losses = ops.cross_entropy(logits, targets_R.narrow(0, begin, count),
                                          options.gradient_scale, with_d_hidden || with_d_head);
    result.loss_sum.add_(losses.sum());
    if (!(with_d_hidden || with_d_head)) continue;
    ToLogitsBackward(logits, kept, options.logits);
    if (with_d_hidden) MatMulOut(result.d_hidden_RD.narrow(0, begin, count), logits, head.weight);
    if (with_d_head) AddMatMul(head.grad, logits.t(), h);
  }
  return result;
}

}  // namespace trainerd::engine
