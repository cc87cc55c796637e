// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/layers/rotary_attention.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include "engine/ops/autograd.h"
#include "engine/ops/fp32_gradient.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

// Heads [first, first + count) of a joint projection as a view [T, count, H].
at::Tensor Heads(const at::Tensor& qkv, int64_t first, int64_t count, int64_t head_dim) {
  return qkv.narrow(1, first * head_dim, count * head_dim).unflatten(1, {count, head_dim});
}

QueryKeyValue SplitHeads(const at::Tensor& qkv, const AttentionShape& shape) {
  return {Heads(qkv, 0, shape.num_heads, shape.head_dim),
          Heads(qkv, shape.num_heads, shape.num_kv_heads, shape.head_dim),
          Heads(qkv, shape.num_heads + shape.num_kv_heads, shape.num_kv_heads, shape.head_dim)};
}

enum class NormKind { kNone, kPerHead, kAllHeads };

NormKind NormKindOf(const RotaryAttentionOptions& options) {
  if (!options.q_norm.weight.defined()) return NormKind::kNone;
  return options.q_norm.weight.numel() == options.shape.head_dim ? NormKind::kPerHead
                                                                 : NormKind::kAllHeads;
}

// The fused norm and rotation of a head needs tables: angle 0 rotates nothing.
RotaryTables TablesOrIdentity(const RotaryTables& rope, const at::Tensor& qkv, int64_t head_dim) {
  if (rope.cos.defined()) {
    TRAINERD_CHECK(2 * rope.cos.size(1) == head_dim);
    return rope;
  }
  const auto options = qkv.options().dtype(at::kFloat);
  return {at::ones({qkv.size(0), head_dim / 2}, options),
          at::zeros({qkv.size(0), head_dim / 2}, options)};
}

// Rotates in place; undefined tables rotate nothing.
void Rotate(const OpTable& ops, const at::Tensor& q, const at::Tensor& k, const RotaryTables& rope,
            bool inverse) {
  if (!rope.cos.defined()) return;
  const int64_t rotary_dim = 2 * rope.cos.size(1);
  for (const at::Tensor& x : {q, k}) {
    if (rotary_dim == x.size(2)) {
      ops.rope(x, rope.cos, rope.sin, inverse);
      continue;
    }
    // The op takes whole heads.
    const at::Tensor part = x.narrow(2, 0, rotary_dim);
    const at::Tensor rotated = at::empty(part.sizes(), part.options()).copy_(part);
    ops.rope(rotated, rope.cos, rope.sin, inverse);
    part.copy_(rotated);
  }
}

// All heads of a token as one contiguous vector.
at::Tensor JoinHeads(const at::Tensor& x_THH) { return x_THH.flatten(1).contiguous(); }

// What a norm over all heads saves for its backward.
struct RotatedHeads {
  QueryKeyValue heads;
  at::Tensor q_rstd_T, k_rstd_T;
};

RotatedHeads NormAllHeads(const QueryKeyValue& heads, const RotaryTables& rope,
                          const RotaryAttentionOptions& options) {
  const OpTable& ops = OpsFor(heads.q_TNH.device());
  const auto norm = [&](const at::Tensor& x, const WeightAndGrad& weight) {
    return ops.rms_norm_forward(JoinHeads(x), at::Tensor(), weight.weight, options.norm_eps);
  };
  const RmsNormResult q = norm(heads.q_TNH, options.q_norm), k = norm(heads.k_TKH, options.k_norm);
  const AttentionShape& shape = options.shape;
  RotatedHeads result{
      .heads = {q.normed_TD.unflatten(1, {shape.num_heads, shape.head_dim}),
                k.normed_TD.unflatten(1, {shape.num_kv_heads, shape.head_dim}), heads.v_TKH},
      .q_rstd_T = q.rstd_T,
      .k_rstd_T = k.rstd_T};
  Rotate(ops, result.heads.q_TNH, result.heads.k_TKH, rope, /*inverse=*/false);
  return result;
}

void NormAllHeadsBackward(const QueryKeyValue& d, const RotatedHeads& rotated,
                          const at::Tensor& qkv, const RotaryTables& rope,
                          const RotaryAttentionOptions& options) {
  const OpTable& ops = OpsFor(qkv.device());
  Rotate(ops, d.q_TNH, d.k_TKH, rope, /*inverse=*/true);
  const auto backward = [&](const at::Tensor& d_heads, const at::Tensor& x_heads,
                            const at::Tensor& rstd, const WeightAndGrad& norm) {
    const at::Tensor d_x =
        ops.rms_norm_backward(at::Tensor(), JoinHeads(d_heads), JoinHeads(x_heads), rstd,
                              norm.weight, Fp32Gradient(norm.grad).sum());
    d_heads.copy_(d_x.view(d_heads.sizes()));
  };
  const QueryKeyValue x = SplitHeads(qkv, options.shape);
  backward(d.q_TNH, x.q_TNH, rotated.q_rstd_T, options.q_norm);
  backward(d.k_TKH, x.k_TKH, rotated.k_rstd_T, options.k_norm);
}

QueryKeyValue NormAndRotateEachHead(const QueryKeyValue& heads, const at::Tensor& qkv,
                                    const RotaryTables& rope,
                                    const RotaryAttentionOptions& options) {
  const OpTable& ops = OpsFor(qkv.device());
  const AttentionShape& shape = options.shape;
  const RotaryTables tables = TablesOrIdentity(rope, qkv, shape.head_dim);
  // The norm's backward needs its input, so the result gets a buffer of its own.
  at::Tensor qk = at::empty({qkv.size(0), (shape.num_heads + shape.num_kv_heads) * shape.head_dim},
                            qkv.options());
  at::Tensor q = Heads(qk, 0, shape.num_heads, shape.head_dim);
  at::Tensor k = Heads(qk, shape.num_heads, shape.num_kv_heads, shape.head_dim);
  ops.norm_rope_forward(q, heads.q_TNH, options.q_norm.weight, tables.cos, tables.sin,
                        options.norm_eps);
  ops.norm_rope_forward(k, heads.k_TKH, options.k_norm.weight, tables.cos, tables.sin,
                        options.norm_eps);
  return {q, k, heads.v_TKH};
}

void NormAndRotateEachHeadBackward(const QueryKeyValue& d, const at::Tensor& qkv,
                                   const RotaryTables& rope,
                                   const RotaryAttentionOptions& options) {
  const OpTable& ops = OpsFor(qkv.device());
  const RotaryTables tables = TablesOrIdentity(rope, qkv, options.shape.head_dim);
  const QueryKeyValue x = SplitHeads(qkv, options.shape);
  ops.norm_rope_backward(d.q_TNH, x.q_TNH, options.q_norm.weight,
                         Fp32Gradient(options.q_norm.grad).sum(), tables.cos, tables.sin,
                         options.norm_eps);
  ops.norm_rope_backward(d.k_TKH, x.k_TKH, options.k_norm.weight,
                         Fp32Gradient(options.k_norm.grad).sum(), tables.cos, tables.sin,
                         options.norm_eps);
}

RotatedHeads NormAndRotate(const at::Tensor& qkv, const RotaryTables& rope,
                           const RotaryAttentionOptions& options) {
  at::NoGradGuard no_grad;
  const QueryKeyValue heads = SplitHeads(qkv, options.shape);
  switch (NormKindOf(options)) {
    case NormKind::kAllHeads:
      return NormAllHeads(heads, rope, options);
    case NormKind::kPerHead:
      return {.heads = NormAndRotateEachHead(heads, qkv, rope, options)};
    case NormKind::kNone:
      Rotate(OpsFor(qkv.device()), heads.q_TNH, heads.k_TKH, rope, /*inverse=*/false);
      return {.heads = heads};
  }
  return {};
}

// Turns the gradients of the rotated heads into those of qkv, in place.
void NormAndRotateBackward(const QueryKeyValue& d, const RotatedHeads& rotated,
                           const at::Tensor& qkv, const RotaryTables& rope,
                           const RotaryAttentionOptions& options) {
  switch (NormKindOf(options)) {
    case NormKind::kAllHeads:
      return NormAllHeadsBackward(d, rotated, qkv, rope, options);
    case NormKind::kPerHead:
      return NormAndRotateEachHeadBackward(d, qkv, rope, options);
    case NormKind::kNone:
      return Rotate(OpsFor(qkv.device()), d.q_TNH, d.k_TKH, rope, /*inverse=*/true);
  }
}

}  // namespace

QueryKeyValue RotateHeads(const at::Tensor& qkv, const RotaryTables& rope,
                          const RotaryAttentionOptions& options) {
  return NormAndRotate(qkv, rope, options).heads;
}

at::Tensor RotaryAttention(const at::Tensor& qkv, const RotaryTables& rope,
                           const Documents& documents, const RotaryAttentionOptions& options) {
  const OpTable& ops = OpsFor(qkv.device());
  at::Tensor saved_qkv = Detached(qkv);
  const RotatedHeads rotated = NormAndRotate(saved_qkv, rope, options);
  const QueryKeyValue& heads = rotated.heads;
  AttentionResult result;
  {
    at::NoGradGuard no_grad;
    result = ops.attention_forward(heads.q_TNH, heads.k_TKH, heads.v_TKH, documents, options.shape);
  }
  at::Tensor out = result.out_TNH.detach().flatten(1);
  if (!IsRecording() ||
      !(qkv.requires_grad() || options.q_norm.grad.defined() || options.k_norm.grad.defined()))
    return out;

  const bool again = options.recompute_norm && NormKindOf(options) != NormKind::kNone;
  auto backward = [&ops, saved_qkv, kept = again ? RotatedHeads{} : rotated, again, result, rope,
                   documents, options](std::vector<at::Tensor>& gradients) {
    const AttentionShape& shape = options.shape;
    const RotatedHeads used = again ? NormAndRotate(saved_qkv, rope, options) : kept;
    const QueryKeyValue& heads = used.heads;
    at::Tensor d_qkv = at::empty(saved_qkv.sizes(), saved_qkv.options());
    QueryKeyValue d = SplitHeads(d_qkv, shape);
    ops.attention_backward(gradients[0].unflatten(1, {shape.num_heads, shape.head_dim}),
                           heads.q_TNH, heads.k_TKH, heads.v_TKH, result, documents, shape, d.q_TNH,
                           d.k_TKH, d.v_TKH);
    NormAndRotateBackward(d, used, saved_qkv, rope, options);
    return std::vector<at::Tensor>{d_qkv};
  };
  RecordBackward("RotaryAttention", {qkv}, {out}, std::move(backward));
  return out;
}

}  // namespace trainerd::engine
