// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/cuda/compute/flash_attention.h"

#include <ATen/Context.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include "engine/ops/reference/reference_ops.h"
#include "tests/fakes/cuda/compute/operators.h"
#include "tests/fakes/cuda/device.h"

namespace trainerd::fakes::cuda {
namespace {

using engine::AttentionResult;
using engine::AttentionShape;
using engine::Documents;

Documents DocumentsOf(const at::Tensor& cu_seqlens) {
  const at::Tensor host = OnHost(cu_seqlens).contiguous();
  TORCH_CHECK(host.scalar_type() == at::kInt, "cu_seqlens must be int32");
  const int32_t* begin = host.const_data_ptr<int32_t>();
  Documents documents;
  documents.cu_seqlens = host;
  documents.cu_seqlens_host.assign(begin, begin + host.numel());
  return documents;
}

AttentionShape ShapeOf(const at::Tensor& q, const at::Tensor& k, double scale,
                       const std::optional<c10::SymInt>& window_left) {
  const int64_t left = window_left.has_value() ? window_left->expect_int() : -1;
  return {.num_heads = q.size(1),
          .num_kv_heads = k.size(1),
          .head_dim = q.size(2),
          .scale = scale,
          .window = left < 0 ? 0 : left + 1};
}

// What the real kernel requires of its arguments, and we rely on.
void CheckCall(const at::Tensor& q, double dropout, bool is_causal,
               const std::optional<double>& scale) {
  TORCH_CHECK(q.scalar_type() == at::kBFloat16 || q.scalar_type() == at::kHalf,
              "flash attention supports fp16 and bf16");
  TORCH_CHECK(q.dim() == 3 && q.stride(2) == 1, "rows of a head must be contiguous");
  TORCH_CHECK(q.size(2) % 8 == 0 && q.size(2) <= 256, "unsupported head size ", q.size(2));
  TORCH_CHECK(dropout == 0.0 && is_causal && scale.has_value());
}

}  // namespace

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> FlashAttentionForward(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const std::optional<at::Tensor>& cu_seqlens_q, const std::optional<at::Tensor>&, c10::SymInt,
    c10::SymInt, double dropout, bool is_causal, bool, std::optional<double> scale,
    std::optional<c10::SymInt> window_left, std::optional<c10::SymInt>,
    const std::optional<at::Tensor>&, const std::optional<at::Tensor>&) {
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  CheckCall(q, dropout, is_causal, scale);
  const AttentionResult result = engine::reference::AttentionForward(
      OnHost(q), OnHost(k), OnHost(v), DocumentsOf(*cu_seqlens_q),
      ShapeOf(q, k, *scale, window_left));
  const at::Device device = q.device();
  return {OnDevice(result.out_TNH, device), OnDevice(result.lse.flatten(0, 1), device),
          OnDevice(at::zeros({2}, at::kLong), device), OnDevice(at::zeros({}, at::kLong), device),
          at::Tensor()};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> FlashAttentionBackward(
    const at::Tensor& d_out, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& out, const at::Tensor& lse, const at::Tensor& cu_seqlens_q, const at::Tensor&,
    c10::SymInt, c10::SymInt, double dropout, bool is_causal, const at::Tensor&, const at::Tensor&,
    std::optional<double> scale, std::optional<c10::SymInt> window_left,
    std::optional<c10::SymInt>) {
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  CheckCall(q, dropout, is_causal, scale);
  const at::Context& context = at::globalContext();
  const bool is_fixed =
      context.deterministicAlgorithms() && !context.deterministicAlgorithmsWarnOnly();
  Count(is_fixed ? "flash attention backward, fixed order" : "flash attention backward, any order");
  const AttentionShape shape = ShapeOf(q, k, *scale, window_left);
  AttentionResult result;
  result.out_TNH = OnHost(out);
  result.lse = OnHost(lse).unflatten(0, {k.size(1), q.size(1) / k.size(1)});
  const at::Tensor host_q = OnHost(q), host_k = OnHost(k), host_v = OnHost(v);
  const auto contiguous = [](const at::Tensor& x) {
    return at::empty_like(x, x.options(), at::MemoryFormat::Contiguous);
  };
  const at::Tensor dq = contiguous(host_q), dk = contiguous(host_k), dv = contiguous(host_v);
  engine::reference::AttentionBackward(OnHost(d_out), host_q, host_k, host_v, result,
                                       DocumentsOf(cu_seqlens_q), shape, dq, dk, dv);
  const at::Device device = q.device();
  return {OnDevice(dq, device), OnDevice(dk, device), OnDevice(dv, device)};
}

}  // namespace trainerd::fakes::cuda
