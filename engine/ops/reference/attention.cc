// SPDX-License-Identifier: Apache-2.0
// Attention in plain ATen: document by document with a whole matrix of scores; on CUDA in bf16
// LibTorch's variable-length flash attention. Legend: L tokens of a document, N query heads, K
// key/value heads, G = N / K, H head size.
#include <ATen/TensorOperators.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tanh.h>

#include <limits>

#include "engine/ops/reference/reference_ops.h"

namespace trainerd::engine::reference {
namespace {

bool UseFlash(const at::Tensor& q, const AttentionShape& shape) {
  return shape.soft_cap == 0.0 && q.is_cuda() && q.scalar_type() == at::kBFloat16 &&
         q.size(2) % 8 == 0 && q.size(2) <= 256;
}

std::optional<int64_t> WindowLeft(const AttentionShape& shape) {
  return shape.window > 0 ? std::optional<int64_t>(shape.window - 1) : std::nullopt;
}

// The document's heads as fp32 [K, G, L, H] (queries) or [K, 1, L, H].
at::Tensor DocumentHeads(const at::Tensor& x, int64_t begin, int64_t length, int64_t num_kv_heads) {
  return x.narrow(0, begin, length)
      .to(at::kFloat)
      .unflatten(1, {num_kv_heads, -1})
      .permute({1, 2, 0, 3});
}

at::Tensor Unpermuted(const at::Tensor& x_KGLH) {
  return x_KGLH.permute({2, 0, 1, 3}).flatten(1, 2);
}

// Positions that a query must not see.
at::Tensor Mask(int64_t length, const AttentionShape& shape, at::Device device) {
  const at::Tensor index = at::arange(length, at::TensorOptions().device(device).dtype(at::kLong));
  const at::Tensor distance = index.unsqueeze(1) - index.unsqueeze(0);
  at::Tensor mask = distance < 0;
  if (shape.window > 0) mask = mask.logical_or(distance >= shape.window);
  return mask;
}

// Scores before the mask.
at::Tensor Scores(const at::Tensor& q, const at::Tensor& k, const AttentionShape& shape) {
  const at::Tensor scores = at::matmul(q, k.transpose(-1, -2)) * shape.scale;
  return shape.soft_cap > 0.0 ? at::tanh(scores / shape.soft_cap) * shape.soft_cap : scores;
}

at::Tensor Masked(const at::Tensor& scores, const AttentionShape& shape) {
  return scores.masked_fill(Mask(scores.size(2), shape, scores.device()),
                            -std::numeric_limits<float>::infinity());
}

AttentionResult FlashForward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const Documents& documents, const AttentionShape& shape) {
  auto [out, lse, rng_state, unused, debug_mask] = at::_flash_attention_forward(
      q, k, v, std::optional<at::Tensor>(documents.cu_seqlens),
      std::optional<at::Tensor>(documents.cu_seqlens), documents.max_seqlen, documents.max_seqlen,
      /*dropout_p=*/0.0, /*is_causal=*/true, /*return_debug_mask=*/false,
      std::optional<double>(shape.scale), WindowLeft(shape),
      std::optional<int64_t>(shape.window > 0 ? 0 : -1));
  return {out, lse, {rng_state, unused}};
}

}  // namespace

AttentionResult AttentionForward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const Documents& documents, const AttentionShape& shape) {
  if (UseFlash(q, shape)) return FlashForward(q, k, v, documents, shape);
  AttentionResult result;
  result.out_TNH = at::empty({q.size(0), shape.num_heads, shape.head_dim}, q.options());
  result.lse = at::empty({shape.num_kv_heads, shape.num_heads / shape.num_kv_heads, q.size(0)},
                         q.options().dtype(at::kFloat));
  for (size_t i = 0; i + 1 < documents.cu_seqlens_host.size(); ++i) {
    const int64_t begin = documents.cu_seqlens_host[i],
                  length = documents.cu_seqlens_host[i + 1] - begin;
    if (length == 0) continue;
    const at::Tensor scores =
        Masked(Scores(DocumentHeads(q, begin, length, shape.num_kv_heads),
                      DocumentHeads(k, begin, length, shape.num_kv_heads), shape),
               shape);
    const at::Tensor lse = at::logsumexp(scores, -1);
    result.lse.narrow(2, begin, length).copy_(lse);
    const at::Tensor probabilities = (scores - lse.unsqueeze(-1)).exp();
    result.out_TNH.narrow(0, begin, length)
        .copy_(Unpermuted(
            at::matmul(probabilities, DocumentHeads(v, begin, length, shape.num_kv_heads))));
  }
  return result;
}

void AttentionBackward(const at::Tensor& d_out_TNH, const at::Tensor& q, const at::Tensor& k,
                       const at::Tensor& v, const AttentionResult& result,
                       const Documents& documents, const AttentionShape& shape,
                       const at::Tensor& dq, const at::Tensor& dk, const at::Tensor& dv) {
  if (UseFlash(q, shape)) {
    auto [fq, fk, fv] = at::_flash_attention_backward(
        d_out_TNH.contiguous(), q, k, v, result.out_TNH, result.lse, documents.cu_seqlens,
        documents.cu_seqlens, documents.max_seqlen, documents.max_seqlen, /*dropout_p=*/0.0,
        /*is_causal=*/true, result.saved[0], result.saved[1], std::optional<double>(shape.scale),
        WindowLeft(shape), std::optional<int64_t>(shape.window > 0 ? 0 : -1));
    dq.copy_(fq);
    dk.copy_(fk);
    dv.copy_(fv);
    return;
  }
  for (size_t i = 0; i + 1 < documents.cu_seqlens_host.size(); ++i) {
    const int64_t begin = documents.cu_seqlens_host[i],
                  length = documents.cu_seqlens_host[i + 1] - begin;
    if (length == 0) continue;
    const auto heads = [&](const at::Tensor& x) {
      return DocumentHeads(x, begin, length, shape.num_kv_heads);
    };
    const at::Tensor q_ = heads(q), k_ = heads(k), v_ = heads(v), d = heads(d_out_TNH),
                     out = heads(result.out_TNH);
    const at::Tensor scores = Scores(q_, k_, shape);
    const at::Tensor p =
        (Masked(scores, shape) - result.lse.narrow(2, begin, length).unsqueeze(-1)).exp();
    const at::Tensor d_p = at::matmul(d, v_.transpose(-1, -2));
    at::Tensor d_scores = p * (d_p - (d * out).sum(-1, /*keepdim=*/true));
    if (shape.soft_cap > 0.0) d_scores = d_scores * (1.0 - (scores / shape.soft_cap).square());
    d_scores = d_scores * shape.scale;
    dq.narrow(0, begin, length).copy_(Unpermuted(at::matmul(d_scores, k_)));
    dk.narrow(0, begin, length)
        .copy_(Unpermuted(at::matmul(d_scores.transpose(-1, -2), q_).sum(1, /*keepdim=*/true)));
    dv.narrow(0, begin, length)
        .copy_(Unpermuted(at::matmul(p.transpose(-1, -2), d).sum(1, /*keepdim=*/true)));
  }
}

}  // namespace trainerd::engine::reference
