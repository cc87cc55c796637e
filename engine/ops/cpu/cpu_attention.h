// SPDX-License-Identifier: Apache-2.0
// Attention entries of the CPU table: splits a row of documents into tasks (document × key/value
// head) over the threads.
#pragma once

#include "engine/ops/op_table.h"

namespace trainerd::engine::cpu {

// Soft caps fall back to the reference; otherwise lse of the result is fp32 [T, N].
AttentionResult AttentionForward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const Documents& documents, const AttentionShape& shape);
void AttentionBackward(const at::Tensor& d_out_TNH, const at::Tensor& q, const at::Tensor& k,
                       const at::Tensor& v, const AttentionResult& result,
                       const Documents& documents, const AttentionShape& shape,
                       const at::Tensor& dq, const at::Tensor& dk, const at::Tensor& dv);

}  // namespace trainerd::engine::cpu
