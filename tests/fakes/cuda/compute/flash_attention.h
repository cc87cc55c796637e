// SPDX-License-Identifier: Apache-2.0
// aten::_flash_attention_forward and _backward for sequences of documents, which the CPU does not
// have. They compute with the reference attention of engine/ops over the same memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace trainerd::fakes::cuda {

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> FlashAttentionForward(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const std::optional<at::Tensor>& cu_seqlens_q, const std::optional<at::Tensor>& cu_seqlens_k,
    c10::SymInt max_q, c10::SymInt max_k, double dropout, bool is_causal, bool with_debug_mask,
    std::optional<double> scale, std::optional<c10::SymInt> window_left,
    std::optional<c10::SymInt> window_right, const std::optional<at::Tensor>& used_k,
    const std::optional<at::Tensor>& alibi_slopes);

// Counts which of LibTorch's two variants would run: "flash attention backward, fixed order" or
// "flash attention backward, any order".
std::tuple<at::Tensor, at::Tensor, at::Tensor> FlashAttentionBackward(
    const at::Tensor& d_out, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& out, const at::Tensor& lse, const at::Tensor& cu_seqlens_q,
    const at::Tensor& cu_seqlens_k, c10::SymInt max_q, c10::SymInt max_k, double dropout,
    bool is_causal, const at::Tensor& rng_state, const at::Tensor& unused,
    std::optional<double> scale, std::optional<c10::SymInt> window_left,
    std::optional<c10::SymInt> window_right);

}  // namespace trainerd::fakes::cuda
