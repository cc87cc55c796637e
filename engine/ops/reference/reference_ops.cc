// SPDX-License-Identifier: Apache-2.0
// The ops in plain ATen, written to be read: what every fused implementation must agree with.
// Computes in fp32 and rounds where transformers does.
#include "engine/ops/reference/reference_ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/sum.h>

#include <algorithm>
#include <cmath>

#include "engine/ops/lora/dropout_bits.h"
#include "engine/ops/lora/low_rank_products.h"

namespace trainerd::engine {
namespace {

at::Tensor Fp32(const at::Tensor& x) { return x.to(at::kFloat); }

at::Tensor Rstd(const at::Tensor& x_fp32, double eps) {
  return at::rsqrt(x_fp32.square().mean(-1, /*keepdim=*/true) + eps);
}

// Gradient of x·rstd(x) for the gradient `d_normed` of it, rows in the last dimension.
at::Tensor NormBackward(const at::Tensor& d_normed, const at::Tensor& normed,
                        const at::Tensor& rstd) {
  return rstd * (d_normed - normed * (d_normed * normed).mean(-1, /*keepdim=*/true));
}

RmsNormResult RmsNormForward(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& weight,
                             double eps) {
  RmsNormResult result;
  result.sum_TD = delta.defined() ? x + delta : x.detach();
  const at::Tensor sum = Fp32(result.sum_TD);
  const at::Tensor rstd = Rstd(sum, eps);
  result.normed_TD = weight * (sum * rstd).to(x.scalar_type());
  result.rstd_T = rstd.squeeze(-1);
  return result;
}

at::Tensor RmsNormApply(const at::Tensor& sum, const at::Tensor& rstd, const at::Tensor& weight) {
  return weight * (Fp32(sum) * rstd.unsqueeze(-1)).to(sum.scalar_type());
}

at::Tensor RmsNormBackward(const at::Tensor& d_sum, const at::Tensor& d_normed,
                           const at::Tensor& sum, const at::Tensor& rstd_T,
                           const at::Tensor& weight, const at::Tensor& weight_grad) {
  const at::Tensor rstd = rstd_T.unsqueeze(-1);
  const at::Tensor normed = Fp32(sum) * rstd, d = Fp32(d_normed);
  if (weight_grad.defined()) const_cast<at::Tensor&>(weight_grad).add_((d * normed).sum(0));
  at::Tensor d_x = NormBackward(d * Fp32(weight), normed, rstd);
  if (d_sum.defined()) d_x = d_x + Fp32(d_sum);
  return d_x.to(sum.scalar_type());
}

// x·cos + rotate_half(x)·sin over the last dimension; rotate_half(a | b) = (−b | a).
at::Tensor Rotated(const at::Tensor& x_fp32, const at::Tensor& cos, const at::Tensor& sin,
                   bool inverse) {
  const int64_t half = x_fp32.size(-1) / 2;
  const at::Tensor a = x_fp32.narrow(-1, 0, half), b = x_fp32.narrow(-1, half, half);
  const at::Tensor c = cos.unsqueeze(1), s = inverse ? -sin.unsqueeze(1) : sin.unsqueeze(1);
  return at::cat({a * c - b * s, b * c + a * s}, -1);
}

void Rope(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool inverse) {
  x.copy_(Rotated(Fp32(x), cos, sin, inverse));
}

void NormRopeForward(const at::Tensor& out, const at::Tensor& x, const at::Tensor& weight,
                     const at::Tensor& cos, const at::Tensor& sin, double eps) {
  const at::Tensor x32 = Fp32(x);
  const at::Tensor normed = weight * (x32 * Rstd(x32, eps)).to(x.scalar_type());
  out.copy_(Rotated(Fp32(normed), cos, sin, /*inverse=*/false));
}

void NormRopeBackward(const at::Tensor& d_out, const at::Tensor& x, const at::Tensor& weight,
                      const at::Tensor& weight_grad, const at::Tensor& cos, const at::Tensor& sin,
                      double eps) {
  const at::Tensor d = Rotated(Fp32(d_out), cos, sin, /*inverse=*/true);
  const at::Tensor x32 = Fp32(x), rstd = Rstd(x32, eps), normed = x32 * rstd;
  if (weight_grad.defined())
    const_cast<at::Tensor&>(weight_grad).add_((d * normed).sum(at::IntArrayRef{0, 1}));
  d_out.copy_(NormBackward(d * Fp32(weight), normed, rstd));
}

at::Tensor SwiGluForward(const at::Tensor& gate_up) {
  const int64_t size = gate_up.size(1) / 2;
  return at::silu(gate_up.narrow(1, 0, size)) * gate_up.narrow(1, size, size);
}

at::Tensor SwiGluBackward(const at::Tensor& d_out, const at::Tensor& gate_up) {
  const int64_t size = gate_up.size(1) / 2;
  const at::Tensor gate = Fp32(gate_up.narrow(1, 0, size)),
                   up = Fp32(gate_up.narrow(1, size, size)), d = Fp32(d_out);
  const at::Tensor s = at::sigmoid(gate);
  const at::Tensor d_gate = d * up * (s * (1.0 + gate * (1.0 - s)));
  return at::cat({d_gate, d * gate * s}, 1).to(gate_up.scalar_type());
}

at::Tensor CrossEntropy(const at::Tensor& logits, const at::Tensor& targets,
                        const at::Tensor& weights, const CrossEntropyOptions& options) {
  const at::Tensor index = targets.unsqueeze(1);
  const double smoothing = options.label_smoothing;
  // The one temporary of this size, changed in place: the head's logits are what limits the memory.
  at::Tensor x = logits.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  x.sub_(x.amax(1, /*keepdim=*/true));
  at::Tensor expected_x = x.gather(1, index);
  if (smoothing > 0.0)
    expected_x = expected_x * (1.0 - smoothing) + x.mean(1, /*keepdim=*/true) * smoothing;
  const at::Tensor sum = x.exp_().sum(1, /*keepdim=*/true);
  at::Tensor losses = (sum.log() - expected_x).squeeze(1);
  if (options.with_gradient) {
    x.div_(sum);
    if (smoothing > 0.0) x.sub_(smoothing / static_cast<double>(x.size(1)));
    x.scatter_(1, index, x.gather(1, index) - (1.0 - smoothing));
    if (weights.defined()) x.mul_(weights.unsqueeze(1));
    logits.copy_(x.mul_(options.scale));
  }
  return weights.defined() ? losses.mul_(weights) : losses;
}

at::Tensor Surprise(const at::Tensor& logits, const at::Tensor& targets, SurpriseMeasure measure) {
  constexpr double kLeast = 1e-10;
  const at::Tensor index = targets.unsqueeze(1);
  at::Tensor x = logits.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  x.sub_(x.amax(1, /*keepdim=*/true));
  if (measure == SurpriseMeasure::kEntropy) {
    at::Tensor p = x.exp();
    const at::Tensor sum = p.sum(1);
    // A lower bound, so that e^x = 0 meets no infinity.
    return sum.log() - p.mul_(x.clamp_min_(-128.0)).sum(1) / sum;
  }
  const at::Tensor p = x.exp_().div_(x.sum(1, /*keepdim=*/true));
  const at::Tensor target_p = p.gather(1, index).squeeze(1);
  switch (measure) {
    case SurpriseMeasure::kEntropy:
      break;
    case SurpriseMeasure::kConfidence:
      return 1.0 - p.amax(1);
    case SurpriseMeasure::kPerplexity:
      return (target_p + kLeast).reciprocal();
    case SurpriseMeasure::kMargin:
      return (1.0 - (target_p - p.scatter(1, index, 0.0).amax(1))).clamp(0.0, 1.0);
  }
  return {};
}

void EmbeddingBackward(const at::Tensor& d, const at::Tensor& ids, const at::Tensor& weight_grad) {
  const_cast<at::Tensor&>(weight_grad).index_add_(0, ids, Fp32(d));
}

void AddColumnSums(const at::Tensor& out, const at::Tensor& d) {
  const_cast<at::Tensor&>(out).add_(d.sum(0, /*keepdim=*/false, at::kFloat));
}

// SplitMix64 of int64 tensors, whose products wrap around.
at::Tensor Mixed(const at::Tensor& value) {
  const auto shifted = [](const at::Tensor& x, int64_t bits) {
    return x.__rshift__(bits).bitwise_and_(static_cast<int64_t>(~uint64_t{0} >> bits));
  };
  const auto wrapped = [](uint64_t x) { return static_cast<int64_t>(x); };
  at::Tensor x = value + wrapped(kSplitMixIncrement);
  x = x.bitwise_xor(shifted(x, 30)).mul_(wrapped(0xbf58476d1ce4e5b9u));
  x = x.bitwise_xor(shifted(x, 27)).mul_(wrapped(0x94d049bb133111ebu));
  return x.bitwise_xor(shifted(x, 31));
}

at::Tensor Dropout(const at::Tensor& x, const at::Tensor& row_keys, uint64_t key,
                   double probability) {
  const int64_t columns = x.size(1), pairs = (columns + 1) / 2;
  const at::Tensor rows = Mixed(Mixed(row_keys).bitwise_xor(static_cast<int64_t>(key)));
  const at::Tensor offsets =
      at::arange(pairs, row_keys.options()).mul_(static_cast<int64_t>(kSplitMixIncrement));
  const at::Tensor bits = Mixed(rows.unsqueeze(1) + offsets);
  constexpr int64_t kLow = 0xffffffff;
  const at::Tensor numbers =
      at::stack({bits.bitwise_and(kLow), bits.__rshift__(32).bitwise_and_(kLow)}, 2)
          .flatten(1)
          .narrow(1, 0, columns);
  const float factor = static_cast<float>(1.0 / (1.0 - probability));
  return (Fp32(x) * factor)
      .masked_fill_(numbers.lt(static_cast<int64_t>(DropoutThreshold(probability))), 0.0)
      .to(x.scalar_type());
}

void Accumulate(const at::Tensor& out, const at::Tensor& x) {
  const_cast<at::Tensor&>(out).add_(x);
}

}  // namespace

namespace reference {

void AdamW(const at::Tensor& master, const at::Tensor& grad, const at::Tensor& exp_avg,
           const at::Tensor& exp_avg_sq, const at::Tensor& value, const AdamWUpdate& u) {
  const at::Tensor g = u.gradient_factor == 1.0 ? grad : grad * u.gradient_factor;
  const double correction1 = 1.0 - std::pow(u.beta1, u.step),
               correction2 = 1.0 - std::pow(u.beta2, u.step);
  const_cast<at::Tensor&>(master).mul_(1.0 - u.learning_rate * u.weight_decay);
  const_cast<at::Tensor&>(exp_avg).lerp_(g, 1.0 - u.beta1);
  const_cast<at::Tensor&>(exp_avg_sq).mul_(u.beta2).addcmul_(g, g, 1.0 - u.beta2);
  const at::Tensor denominator = (exp_avg_sq.sqrt() / std::sqrt(correction2)).add_(u.eps);
  const_cast<at::Tensor&>(master).addcdiv_(exp_avg, denominator, -u.learning_rate / correction1);
  if (value.defined()) value.copy_(master);
}

// Rows of kMomentBlock elements; the last one is filled up with 0.
at::Tensor Blocks(const at::Tensor& flat) {
  const int64_t missing = (kMomentBlock - flat.numel() % kMomentBlock) % kMomentBlock;
  return at::constant_pad_nd(flat, {0, missing}).view({-1, kMomentBlock});
}

at::Tensor Dequantized(const QuantizedMoment& moment) {
  const at::Tensor values = moment.code->values.index_select(0, moment.codes.to(at::kInt));
  return (Blocks(values) * moment.absmax.unsqueeze(1)).view({-1}).narrow(0, 0, values.numel());
}

// A block whose scale has no finite reciprocal becomes 0.
void Quantize(const at::Tensor& x, const QuantizedMoment& moment) {
  const at::Tensor blocks = Blocks(x);
  at::Tensor absmax = blocks.abs().amax(1, /*keepdim=*/true);
  const at::Tensor inverse = absmax.reciprocal();
  absmax = absmax.masked_fill(inverse.isinf(), 0.0);
  const at::Tensor share = (blocks * inverse.masked_fill(inverse.isinf(), 0.0)).clamp(-1.0, 1.0);
  const at::Tensor cells = ((share + 1.0) * 0.5 * (kDynamicCells - 1) + 0.5).to(at::kInt);
  const at::Tensor codes = moment.code->nearest.index_select(0, cells.flatten()).view_as(cells);
  moment.codes.copy_(codes.masked_fill(absmax == 0.0, 0).flatten().narrow(0, 0, x.numel()));
  moment.absmax.copy_(absmax.squeeze(1));
}

// Elements [begin, begin + size) of `moment`, whole blocks.
QuantizedMoment PartOf(const QuantizedMoment& moment, int64_t begin, int64_t size) {
  return {.codes = moment.codes.narrow(0, begin, size),
          .absmax = moment.absmax.narrow(0, begin / kMomentBlock,
                                         (size + kMomentBlock - 1) / kMomentBlock),
          .code = moment.code};
}

void AdamW8bit(const at::Tensor& master, const at::Tensor& grad, const QuantizedMoment& exp_avg,
               const QuantizedMoment& exp_avg_sq, const at::Tensor& value, const AdamWUpdate& u) {
  // Bounds the temporary tensors to about 10 times 16 MiB.
  constexpr int64_t kPiece = int64_t{1} << 22;
  const double correction1 = 1.0 - std::pow(u.beta1, u.step),
               correction2 = 1.0 - std::pow(u.beta2, u.step);
  for (int64_t begin = 0; begin < master.numel(); begin += kPiece) {
    const int64_t size = std::min(kPiece, master.numel() - begin);
    const at::Tensor g = grad.narrow(0, begin, size) * u.gradient_factor;
    const QuantizedMoment first = PartOf(exp_avg, begin, size),
                          second = PartOf(exp_avg_sq, begin, size);
    const at::Tensor m = Dequantized(first).mul_(u.beta1).add_(g, 1.0 - u.beta1),
                     v = Dequantized(second).mul_(u.beta2).addcmul_(g, g, 1.0 - u.beta2);
    const at::Tensor denominator = (v.sqrt() / std::sqrt(correction2)).add_(u.eps);
    at::Tensor part = master.narrow(0, begin, size);
    part.mul_(1.0 - u.learning_rate * u.weight_decay)
        .addcdiv_(m, denominator, -u.learning_rate / correction1);
    Quantize(m, first);
    Quantize(v, second);
  }
  if (value.defined()) value.copy_(master);
}

at::Tensor SumOfSquares(const at::Tensor& x) {
  // Blocks bound both the rounding error of the fp32 sums and the dependence on how ATen splits a
  // long reduction over threads.
  constexpr int64_t kBlock = 1 << 15;
  const int64_t whole = x.numel() / kBlock * kBlock;
  at::Tensor sum =
      at::linalg_vector_norm(x.narrow(0, 0, whole).view({-1, kBlock}), 2, at::IntArrayRef{1})
          .square()
          .sum(at::kDouble);
  if (whole < x.numel())
    sum = sum + x.narrow(0, whole, x.numel() - whole).square().sum(at::kDouble);
  return sum;
}

}  // namespace reference

const OpTable& ReferenceOps() {
  static const OpTable table = {
      .name = "reference",
      .rms_norm_forward = RmsNormForward,
      .rms_norm_apply = RmsNormApply,
      .rms_norm_backward = RmsNormBackward,
      .rope = Rope,
      .norm_rope_forward = NormRopeForward,
      .norm_rope_backward = NormRopeBackward,
      .attention_forward = reference::AttentionForward,
      .attention_backward = reference::AttentionBackward,
      .swiglu_forward = SwiGluForward,
      .swiglu_backward = SwiGluBackward,
      .cross_entropy = CrossEntropy,
      .surprise = Surprise,
      .embedding_backward = EmbeddingBackward,
      .add_column_sums = AddColumnSums,
      .dropout = Dropout,
      .low_rank_forward = LowRankForwardProducts,
      .low_rank_backward = LowRankBackwardProducts,
      .accumulate = Accumulate,
      .adamw = reference::AdamW,
      .adamw_8bit = reference::AdamW8bit,
      .sum_of_squares = reference::SumOfSquares,
      .dequantize_nf4 = reference::DequantizeNf4,
  };
  return table;
}

}  // namespace trainerd::engine
