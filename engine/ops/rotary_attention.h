// SPDX-License-Identifier: Apache-2.0
// From the joint query/key/value projection to the attention's output: optional RMSNorm of each
// query and key head (Qwen3), rotary position embedding by halves, causal attention inside each
// document with grouped key/value heads. Source: Su et al., "RoFormer" (2021); rotate_half as in
// transformers; Dao et al., "FlashAttention" (2022) for the tiling that the CPU kernel uses.
#pragma once

#include <ATen/core/Tensor.h>

#include "engine/ops/op_table.h"
#include "engine/ops/weights.h"

namespace trainerd::engine {

struct RotaryTables {
  at::Tensor cos;  // fp32 [T, H / 2], values rounded to the compute dtype
  at::Tensor sin;
};

struct RotaryAttentionOptions {
  AttentionShape shape;
  WeightAndGrad q_norm;  // undefined weights: no norm
  WeightAndGrad k_norm;
  double norm_eps = 1e-6;
};

// Shapes: qkv [T, (N + 2K)·H] (query heads, key heads, value heads) → [T, N·H]. qkv is overwritten
// where there is no norm.
at::Tensor RotaryAttention(const at::Tensor& qkv, const RotaryTables& rope,
                           const Documents& documents, const RotaryAttentionOptions& options);

// The rotated heads alone, without gradient: what a key/value cache stores.
struct QueryKeyValue {
  at::Tensor q_TNH, k_TKH, v_TKH;
};
QueryKeyValue RotateHeads(const at::Tensor& qkv, const RotaryTables& rope,
                          const RotaryAttentionOptions& options);

}  // namespace trainerd::engine
