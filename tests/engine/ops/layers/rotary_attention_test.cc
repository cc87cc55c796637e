// SPDX-License-Identifier: Apache-2.0
// Attention with every combination of query/key norm, RoPE and soft cap, over both CPU tables,
// against the formulas in plain ATen with ATen's own autograd.
#include "engine/ops/layers/rotary_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <limits>

namespace trainerd::engine {
namespace {

constexpr int64_t kTokens = 19, kHeads = 4, kKvHeads = 2, kHeadDim = 6;
constexpr double kEps = 1e-5;

struct Case {
  enum class Norm { kNone, kPerHead, kAllHeads } norm;
  bool rope;
  double soft_cap;
};

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight) {
  return x * at::rsqrt(x.square().mean(-1, /*keepdim=*/true) + kEps) * weight;
}

at::Tensor Rotate(const at::Tensor& x_THH, const RotaryTables& rope) {
  const int64_t half = kHeadDim / 2;
  const at::Tensor a = x_THH.narrow(2, 0, half), b = x_THH.narrow(2, half, half);
  const at::Tensor cos = rope.cos.unsqueeze(1), sin = rope.sin.unsqueeze(1);
  return at::cat({a * cos - b * sin, b * cos + a * sin}, 2);
}

// Heads [first, first + count) of the joint projection, normed and rotated: [T, count, H].
at::Tensor PlainHeads(const at::Tensor& qkv, int64_t first, int64_t count, const Case& c,
                      const at::Tensor& weight, const RotaryTables& rope) {
  at::Tensor x = qkv.narrow(1, first * kHeadDim, count * kHeadDim);
  if (c.norm == Case::Norm::kAllHeads) x = RmsNorm(x, weight);
  x = x.unflatten(1, {count, kHeadDim});
  if (c.norm == Case::Norm::kPerHead) x = RmsNorm(x, weight);
  return c.rope ? Rotate(x, rope) : x;
}

at::Tensor PlainAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const Documents& documents, const AttentionShape& shape) {
  std::vector<at::Tensor> outputs;
  for (size_t i = 0; i + 1 < documents.cu_seqlens_host.size(); ++i) {
    const int64_t begin = documents.cu_seqlens_host[i],
                  length = documents.cu_seqlens_host[i + 1] - begin;
    const auto heads = [&](const at::Tensor& x) {
      return x.narrow(0, begin, length).repeat_interleave(kHeads / x.size(1), 1).transpose(0, 1);
    };
    at::Tensor scores = at::matmul(heads(q), heads(k).transpose(1, 2)) * shape.scale;
    if (shape.soft_cap > 0) scores = at::tanh(scores / shape.soft_cap) * shape.soft_cap;
    const at::Tensor index = at::arange(length);
    scores = scores.masked_fill(index.unsqueeze(1) < index.unsqueeze(0),
                                -std::numeric_limits<float>::infinity());
    outputs.push_back(at::matmul(at::softmax(scores, -1), heads(v)).transpose(0, 1).flatten(1));
  }
  return at::cat(outputs, 0);
}

double Distance(const at::Tensor& actual, const at::Tensor& expected) {
  return (actual - expected).norm().item<double>() / (expected.norm().item<double>() + 1e-9);
}

void Compare(const Case& c) {
  SCOPED_TRACE(::testing::Message() << "norm " << static_cast<int>(c.norm) << ", rope " << c.rope
                                    << ", soft cap " << c.soft_cap);
  at::manual_seed(4);
  Documents documents;
  documents.cu_seqlens_host = {0, 1, 12, kTokens};
  documents.max_seqlen = 11;
  const at::Tensor angle = at::randn({kTokens, kHeadDim / 2});
  const RotaryTables rope = c.rope ? RotaryTables{angle.cos(), angle.sin()} : RotaryTables{};
  const bool all = c.norm == Case::Norm::kAllHeads;
  const at::Tensor q_weight = at::randn({all ? kHeads * kHeadDim : kHeadDim}),
                   k_weight = at::randn({all ? kKvHeads * kHeadDim : kHeadDim}),
                   data = at::randn({kTokens, (kHeads + 2 * kKvHeads) * kHeadDim}),
                   d_out = at::randn({kTokens, kHeads * kHeadDim});
  RotaryAttentionOptions options;
  options.shape = {.num_heads = kHeads,
                   .num_kv_heads = kKvHeads,
                   .head_dim = kHeadDim,
                   .scale = 0.4,
                   .soft_cap = c.soft_cap};
  options.norm_eps = kEps;
  if (c.norm != Case::Norm::kNone) {
    options.q_norm = {q_weight, at::zeros(q_weight.sizes())};
    options.k_norm = {k_weight, at::zeros(k_weight.sizes())};
  }

  const at::Tensor plain = data.clone().requires_grad_(true),
                   plain_q = q_weight.clone().requires_grad_(true),
                   plain_k = k_weight.clone().requires_grad_(true);
  const at::Tensor expected =
      PlainAttention(PlainHeads(plain, 0, kHeads, c, plain_q, rope),
                     PlainHeads(plain, kHeads, kKvHeads, c, plain_k, rope),
                     plain.narrow(1, (kHeads + kKvHeads) * kHeadDim, kKvHeads * kHeadDim)
                         .unflatten(1, {kKvHeads, kHeadDim}),
                     documents, options.shape);
  expected.backward(d_out);

  const at::Tensor qkv = data.clone().requires_grad_(true);
  const at::Tensor actual = RotaryAttention(qkv, rope, documents, options);
  EXPECT_LE(Distance(actual.detach(), expected.detach()), 2e-6);
  actual.backward(d_out);
  EXPECT_LE(Distance(qkv.grad(), plain.grad()), 1e-5);
  if (c.norm != Case::Norm::kNone) {
    EXPECT_LE(Distance(options.q_norm.grad, plain_q.grad()), 1e-5);
    EXPECT_LE(Distance(options.k_norm.grad, plain_k.grad()), 1e-5);
  }
}

TEST(RotaryAttentionTest, EqualsPlainAtenInEveryCombination) {
  for (const OpTable* table : {&ReferenceOps(), &CpuOps()}) {
    SCOPED_TRACE(table->name);
    RegisterOps(at::kCPU, *table);
    for (Case::Norm norm : {Case::Norm::kNone, Case::Norm::kPerHead, Case::Norm::kAllHeads}) {
      for (bool rope : {true, false}) {
        for (double soft_cap : {0.0, 1.5}) Compare({norm, rope, soft_cap});
      }
    }
  }
  RegisterOps(at::kCPU, CpuOps());
}

TEST(RotateHeadsTest, NormsAndRotatesQueriesAndKeysOnly) {
  at::manual_seed(9);
  const at::Tensor qkv = at::randn({kTokens, (kHeads + 2 * kKvHeads) * kHeadDim}),
                   angle = at::randn({kTokens, kHeadDim / 2});
  const RotaryTables rope{angle.cos(), angle.sin()};
  const Case c{.norm = Case::Norm::kPerHead, .rope = true, .soft_cap = 0.0};
  RotaryAttentionOptions options;
  options.shape = {.num_heads = kHeads, .num_kv_heads = kKvHeads, .head_dim = kHeadDim};
  options.q_norm = {at::randn({kHeadDim}), at::Tensor()};
  options.k_norm = {at::randn({kHeadDim}), at::Tensor()};
  options.norm_eps = kEps;

  const QueryKeyValue heads = RotateHeads(qkv.clone(), rope, options);
  EXPECT_LE(Distance(heads.q_TNH, PlainHeads(qkv, 0, kHeads, c, options.q_norm.weight, rope)),
            2e-6);
  EXPECT_LE(
      Distance(heads.k_TKH, PlainHeads(qkv, kHeads, kKvHeads, c, options.k_norm.weight, rope)),
      2e-6);
  const at::Tensor v = qkv.narrow(1, (kHeads + kKvHeads) * kHeadDim, kKvHeads * kHeadDim);
  EXPECT_TRUE(at::equal(heads.v_TKH, v.unflatten(1, {kKvHeads, kHeadDim})));
  EXPECT_FALSE(heads.q_TNH.requires_grad());
}

}  // namespace
}  // namespace trainerd::engine
