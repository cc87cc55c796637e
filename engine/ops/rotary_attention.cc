// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/rotary_attention.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "engine/ops/autograd.h"

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

bool HasNorm(const RotaryAttentionOptions& options) { return options.q_norm.weight.defined(); }

}  // namespace

QueryKeyValue RotateHeads(const at::Tensor& qkv, const RotaryTables& rope,
                          const RotaryAttentionOptions& options) {
  at::NoGradGuard no_grad;
  const OpTable& ops = OpsFor(qkv.device());
  const AttentionShape& shape = options.shape;
  QueryKeyValue heads = SplitHeads(qkv, shape);
  if (!HasNorm(options)) {
    ops.rope(heads.q_TNH, rope.cos, rope.sin, /*inverse=*/false);
    ops.rope(heads.k_TKH, rope.cos, rope.sin, /*inverse=*/false);
    return heads;
  }
  // The norm's backward needs its input, so the result goes to a buffer of its own.
  at::Tensor qk = at::empty({qkv.size(0), (shape.num_heads + shape.num_kv_heads) * shape.head_dim},
                            qkv.options());
  at::Tensor q = Heads(qk, 0, shape.num_heads, shape.head_dim);
  at::Tensor k = Heads(qk, shape.num_heads, shape.num_kv_heads, shape.head_dim);
  ops.norm_rope_forward(q, heads.q_TNH, options.q_norm.weight, rope.cos, rope.sin,
                        options.norm_eps);
  ops.norm_rope_forward(k, heads.k_TKH, options.k_norm.weight, rope.cos, rope.sin,
                        options.norm_eps);
  return {q, k, heads.v_TKH};
}

at::Tensor RotaryAttention(const at::Tensor& qkv, const RotaryTables& rope,
                           const Documents& documents, const RotaryAttentionOptions& options) {
  const OpTable& ops = OpsFor(qkv.device());
  at::Tensor saved_qkv = Detached(qkv);
  QueryKeyValue heads = RotateHeads(saved_qkv, rope, options);
  AttentionResult result;
  {
    at::NoGradGuard no_grad;
    result = ops.attention_forward(heads.q_TNH, heads.k_TKH, heads.v_TKH, documents, options.shape);
  }
  at::Tensor out = result.out_TNH.detach().flatten(1);
  if (!IsRecording() ||
      !(qkv.requires_grad() || options.q_norm.grad.defined() || options.k_norm.grad.defined()))
    return out;

  auto backward = [&ops, saved_qkv, heads, result, rope, documents,
                   options](std::vector<at::Tensor>& gradients) {
    const AttentionShape& shape = options.shape;
    at::Tensor d_qkv = at::empty(saved_qkv.sizes(), saved_qkv.options());
    QueryKeyValue d = SplitHeads(d_qkv, shape);
    ops.attention_backward(gradients[0].unflatten(1, {shape.num_heads, shape.head_dim}),
                           heads.q_TNH, heads.k_TKH, heads.v_TKH, result, documents, shape, d.q_TNH,
                           d.k_TKH, d.v_TKH);
    if (HasNorm(options)) {
      QueryKeyValue x = SplitHeads(saved_qkv, shape);
      ops.norm_rope_backward(d.q_TNH, x.q_TNH, options.q_norm.weight, options.q_norm.grad, rope.cos,
                             rope.sin, options.norm_eps);
      ops.norm_rope_backward(d.k_TKH, x.k_TKH, options.k_norm.weight, options.k_norm.grad, rope.cos,
                             rope.sin, options.norm_eps);
    } else {
      ops.rope(d.q_TNH, rope.cos, rope.sin, /*inverse=*/true);
      ops.rope(d.k_TKH, rope.cos, rope.sin, /*inverse=*/true);
    }
    return std::vector<at::Tensor>{d_qkv};
  };
  RecordBackward("RotaryAttention", {qkv}, {out}, std::move(backward));
  return out;
}

}  // namespace trainerd::engine
