// SPDX-License-Identifier: Apache-2.0
// From the joint query/key/value projection to the attention's output: optional RMSNorm of queries
// and keys, optional rotary position embedding by halves, causal attention inside each document
// with grouped key/value heads. Source: Su et al., "RoFormer" (2021); rotate_half as in
// transformers; Dao et al., "FlashAttention" (2022) for the tiling of the CPU kernel.
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/ops/op_table.h"
#include "engine/ops/weights.h"

namespace trainerd::engine {

// fp32 [T, R / 2], values rounded to the compute dtype: the first R elements of each head are
// rotated, by halves. With a norm over each head R = H. Undefined: no position embedding.
struct RotaryTables {
  at::Tensor cos;
  at::Tensor sin;
};

struct RotaryAttentionOptions {
  AttentionShape shape;
  // Undefined: no norm. [H]: over each head (Qwen3). [N·H] and [K·H]: over all heads (OLMo 2).
  WeightAndGrad q_norm;
  WeightAndGrad k_norm;
  double norm_eps = 1e-6;
  // With a norm: the backward norms and rotates again instead of keeping the result.
  bool recompute_norm = false;
};

// Shapes: qkv [T, (N + 2K)·H] (query heads, key heads, value heads) → [T, N·H]. Overwrites qkv if
// there is no norm.
at::Tensor RotaryAttention(const at::Tensor& qkv, const RotaryTables& rope,
                           const Documents& documents, const RotaryAttentionOptions& options);

// The rotated heads alone, without gradient, for a key/value cache. Overwrites qkv if there is no
// norm.
struct QueryKeyValue {
  at::Tensor q_TNH, k_TKH, v_TKH;
};
QueryKeyValue RotateHeads(const at::Tensor& qkv, const RotaryTables& rope,
                          const RotaryAttentionOptions& options);

}  // namespace trainerd::engine
