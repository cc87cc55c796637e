// SPDX-License-Identifier: Apache-2.0
// Entries of the reference table that fill more than a few lines each; other tables fall back to
// them.
#pragma once

#include "engine/ops/op_table.h"

namespace trainerd::engine::reference {

AttentionResult AttentionForward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const Documents& documents, const AttentionShape& shape);
void AttentionBackward(const at::Tensor& d_out_TNH, const at::Tensor& q, const at::Tensor& k,
                       const at::Tensor& v, const AttentionResult& result,
                       const Documents& documents, const AttentionShape& shape,
                       const at::Tensor& dq, const at::Tensor& dk, const at::Tensor& dv);

void AdamW(const at::Tensor& master, const at::Tensor& grad, const at::Tensor& exp_avg,
           const at::Tensor& exp_avg_sq, const at::Tensor& value, const AdamWUpdate& update);
at::Tensor SumOfSquares(const at::Tensor& x);

void DequantizeNf4(const Nf4Matrix& matrix, const at::Tensor& out);

}  // namespace trainerd::engine::reference
