// SPDX-License-Identifier: Apache-2.0
// The ops in plain ATen, written to be read: what every fused implementation must agree with.
// Computes in fp32 and rounds where transformers does.
#include "engine/ops/reference/reference_ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sum.h>

#include <cmath>

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

at::Tensor CrossEntropy(const at::Tensor& logits, const at::Tensor& targets, double scale,
                        bool with_gradient) {
  const at::Tensor index = targets.unsqueeze(1);
  // The one temporary of this size, changed in place: the head's logits are what limits the memory.
  at::Tensor x = logits.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  x.sub_(x.amax(1, /*keepdim=*/true));
  const at::Tensor target_x = x.gather(1, index);
  const at::Tensor sum = x.exp_().sum(1, /*keepdim=*/true);
  if (with_gradient) {
    x.div_(sum);
    x.scatter_(1, index, x.gather(1, index) - 1.0);
    logits.copy_(x.mul_(scale));
  }
  return (sum.log() - target_x).squeeze(1);
}

void EmbeddingBackward(const at::Tensor& d, const at::Tensor& ids, const at::Tensor& weight_grad) {
  const_cast<at::Tensor&>(weight_grad).index_add_(0, ids, Fp32(d));
}

void AddColumnSums(const at::Tensor& out, const at::Tensor& d) {
  const_cast<at::Tensor&>(out).add_(d.sum(0, /*keepdim=*/false, at::kFloat));
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
      .embedding_backward = EmbeddingBackward,
      .add_column_sums = AddColumnSums,
      .accumulate = Accumulate,
      .adamw = reference::AdamW,
      .sum_of_squares = reference::SumOfSquares,
  };
  return table;
}

}  // namespace trainerd::engine
