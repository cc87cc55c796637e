// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/cross_entropy.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <utility>

#include "engine/ops/autograd.h"
#include "engine/ops/gemm.h"
#include "engine/ops/lora/low_rank.h"
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

// The logits of all rows, one chunk at a time in one buffer.
class LogitChunks {
 public:
  LogitChunks(const at::Tensor& hidden_RD, const at::Tensor& weight_VD,
              const LinearCrossEntropyOptions& options)
      : hidden_(hidden_RD),
        weight_(weight_VD),
        options_(options),
        rows_(RowsPerChunk(hidden_RD.size(0), weight_VD.size(0),
                           options.buffer_elements > 0 ? options.buffer_elements
                                                       : BufferElements(hidden_RD.is_cuda()))),
        buffer_(at::empty({rows_, weight_VD.size(0)}, hidden_RD.options())) {}

  int64_t count() const { return (hidden_.size(0) + rows_ - 1) / rows_; }
  // The rows of chunk `index` in a tensor with one entry per row.
  at::Tensor Rows(const at::Tensor& all, int64_t index) const {
    const int64_t begin = index * rows_;
    return all.narrow(0, begin, std::min(rows_, hidden_.size(0) - begin));
  }
  // Valid until the next call. The logits of the previous call are not computed again.
  at::Tensor Logits(int64_t index) {
    const at::Tensor hidden = Rows(hidden_, index);
    const at::Tensor logits = buffer_.narrow(0, 0, hidden.size(0));
    if (std::exchange(in_buffer_, index) == index) return logits;
    MatMulOut(logits, hidden, weight_.t());
    if (!options_.low_rank.terms.empty()) {
      adapter_ = {.x = hidden, .dropout = options_.dropout};
      at::Tensor& row_keys = adapter_.dropout.row_keys_T;
      if (row_keys.defined()) row_keys = Rows(row_keys, index);
      adapter_.u_TR = LowRankForward(hidden, logits, options_.low_rank, adapter_.dropout);
    }
    ToLogits(logits, options_.logits);
    return logits;
  }
  // What the adapter's backward needs for the logits of the previous call.
  const LowRankInputs& adapter() const { return adapter_; }

 private:
  const at::Tensor hidden_, weight_;
  const LinearCrossEntropyOptions& options_;
  const int64_t rows_;
  const at::Tensor buffer_;
  int64_t in_buffer_ = -1;
  LowRankInputs adapter_;
};

// An undefined factor is 1.
at::Tensor Product(const at::Tensor& a, const at::Tensor& b) { return a.defined() ? a * b : b; }

// fp32 [R], of the rows of one chunk.
at::Tensor CutWeights(const at::Tensor& logits_RV, const at::Tensor& targets_R,
                      const TokenWeighting& weighting) {
  return OpsFor(logits_RV.device())
      .surprise(logits_RV, targets_R, weighting.measure)
      .clamp_(weighting.min_weight, weighting.max_weight);
}

// fp32 [R].
at::Tensor NormalizedWeights(LogitChunks& chunks, const at::Tensor& targets_R,
                             const TokenWeighting& weighting) {
  constexpr double kLeastDeviation = 1e-6;
  const OpTable& ops = OpsFor(targets_R.device());
  const at::Tensor surprise =
      at::empty({targets_R.size(0)}, targets_R.options().dtype(at::kDouble));
  for (int64_t i = 0; i < chunks.count(); ++i) {
    chunks.Rows(surprise, i)
        .copy_(ops.surprise(chunks.Logits(i), chunks.Rows(targets_R, i), weighting.measure));
  }
  // NaN for one target.
  const at::Tensor deviation =
      ((surprise - surprise.mean()).square().sum() / (surprise.size(0) - 1)).sqrt();
  const at::Tensor standardized =
      at::where(deviation > kLeastDeviation, (surprise - surprise.mean()) / deviation, surprise);
  return at::sigmoid(standardized)
      .mul_(weighting.max_weight - weighting.min_weight)
      .add_(weighting.min_weight)
      .to(at::kFloat);
}

// fp32 [R].
at::Tensor AllLosses(LogitChunks& chunks, const at::Tensor& targets_R) {
  const OpTable& ops = OpsFor(targets_R.device());
  const at::Tensor losses = at::empty({targets_R.size(0)}, targets_R.options().dtype(at::kFloat));
  for (int64_t i = 0; i < chunks.count(); ++i) {
    chunks.Rows(losses, i).copy_(ops.cross_entropy(chunks.Logits(i), chunks.Rows(targets_R, i),
                                                   at::Tensor(), {.with_gradient = false}));
  }
  return losses;
}

// Whether a weight depends on the logits of all targets.
bool NeedsAllLogits(const LinearCrossEntropyOptions& options) {
  return options.weigh || (options.token_weighting && options.token_weighting->normalize);
}

// The weights that are known before the second pass; undefined: there are none.
at::Tensor WeightsOfAll(LogitChunks& chunks, const at::Tensor& targets_R,
                        const LinearCrossEntropyOptions& options) {
  if (options.weigh) return options.weigh(AllLosses(chunks, targets_R));
  if (!NeedsAllLogits(options)) return options.weights_R;
  return Product(options.weights_R, NormalizedWeights(chunks, targets_R, *options.token_weighting));
}

}  // namespace

at::Tensor HeadLogits(const at::Tensor& hidden_RD, const at::Tensor& weight_VD,
                      const LogitsOptions& options, const LowRankWeights& low_rank) {
  at::NoGradGuard no_grad;
  const at::Tensor hidden = Detached(hidden_RD);
  at::Tensor logits = MatMul(hidden, weight_VD.t());
  if (!low_rank.terms.empty()) LowRankForward(hidden, logits, low_rank, /*dropout=*/{});
  ToLogits(logits, options);
  return logits;
}

LinearCrossEntropyResult LinearCrossEntropy(const at::Tensor& hidden_RD,
                                            const at::Tensor& targets_R, const WeightAndGrad& head,
                                            const LinearCrossEntropyOptions& options) {
  at::NoGradGuard no_grad;
  const at::Tensor hidden = Detached(hidden_RD);
  const OpTable& ops = OpsFor(hidden.device());

  LinearCrossEntropyResult result;
  result.loss_sum = at::zeros({}, hidden.options().dtype(at::kFloat));
  const bool with_d_hidden = options.with_gradient && hidden_RD.requires_grad();
  const bool with_d_head = options.with_gradient && head.grad.defined();
  const bool has_adapter = !options.low_rank.terms.empty();
  const bool with_gradient = with_d_hidden || with_d_head || (options.with_gradient && has_adapter);
  if (with_d_hidden) result.d_hidden_RD = at::empty(hidden.sizes(), hidden.options());
  if (hidden.size(0) == 0) return result;

  LogitChunks chunks(hidden, head.weight, options);
  const bool two_passes = NeedsAllLogits(options);
  const at::Tensor all_weights = WeightsOfAll(chunks, targets_R, options);
  for (int64_t i = 0; i < chunks.count(); ++i) {
    // In reverse, because the buffer still holds the logits of the last chunk.
    const int64_t chunk = two_passes ? chunks.count() - 1 - i : i;
    const at::Tensor h = chunks.Rows(hidden, chunk), targets = chunks.Rows(targets_R, chunk),
                     logits = chunks.Logits(chunk);
    at::Tensor weights = all_weights.defined() ? chunks.Rows(all_weights, chunk) : at::Tensor();
    if (options.token_weighting && !two_passes)
      weights = Product(weights, CutWeights(logits, targets, *options.token_weighting));
    const at::Tensor kept =
        with_gradient && options.logits.soft_cap > 0.0 ? logits.clone() : at::Tensor();
    at::Tensor losses = ops.cross_entropy(logits, targets, weights,
                                          {.scale = options.gradient_scale,
                                           .label_smoothing = options.label_smoothing,
                                           .with_gradient = with_gradient});
    result.loss_sum.add_(losses.sum());
    if (!with_gradient) continue;
    ToLogitsBackward(logits, kept, options.logits);
    const at::Tensor d_h = with_d_hidden ? chunks.Rows(result.d_hidden_RD, chunk) : at::Tensor();
    if (with_d_hidden) MatMulOut(d_h, logits, head.weight);
    if (with_d_head) AddMatMul(head.grad, logits.t(), h);
    if (has_adapter) LowRankBackward(options.low_rank, logits, chunks.adapter(), d_h);
  }
  return result;
}

at::Tensor TargetLosses(const at::Tensor& hidden_RD, const at::Tensor& targets_R,
                        const at::Tensor& weight_VD, const LinearCrossEntropyOptions& options) {
  at::NoGradGuard no_grad;
  const at::Tensor hidden = Detached(hidden_RD);
  if (hidden.size(0) == 0) return at::zeros({0}, hidden.options().dtype(at::kFloat));
  LogitChunks chunks(hidden, weight_VD, options);
  return AllLosses(chunks, targets_R);
}

}  // namespace trainerd::engine
