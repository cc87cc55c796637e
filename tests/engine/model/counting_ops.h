// SPDX-License-Identifier: Apache-2.0
// The kernels of the CPU, which count their backward calls.
#pragma once

#include "engine/ops/op_table.h"

namespace trainerd::engine::testing {

struct BackwardCounts {
  int norm = 0, attention = 0, swiglu = 0, embedding = 0;
};

inline BackwardCounts counts;

inline const OpTable& CountingOps() {
  static OpTable table = CpuOps();
  table.rms_norm_backward = [](const at::Tensor& d_sum, const at::Tensor& d, const at::Tensor& sum,
                               const at::Tensor& rstd, const at::Tensor& weight,
                               const at::Tensor& grad) {
    ++counts.norm;
    return CpuOps().rms_norm_backward(d_sum, d, sum, rstd, weight, grad);
  };
  table.attention_backward = [](const at::Tensor& d, const at::Tensor& q, const at::Tensor& k,
                                const at::Tensor& v, const AttentionResult& result,
                                const Documents& documents, const AttentionShape& shape,
                                const at::Tensor& dq, const at::Tensor& dk, const at::Tensor& dv) {
    ++counts.attention;
    CpuOps().attention_backward(d, q, k, v, result, documents, shape, dq, dk, dv);
  };
  table.swiglu_backward = [](const at::Tensor& d, const at::Tensor& gate_up) {
    ++counts.swiglu;
    return CpuOps().swiglu_backward(d, gate_up);
  };
  table.embedding_backward = [](const at::Tensor& d, const at::Tensor& ids,
                                const at::Tensor& grad) {
    ++counts.embedding;
    CpuOps().embedding_backward(d, ids, grad);
  };
  return table;
}

// The backward calls of `run`.
template <typename Run>
BackwardCounts CountBackward(const Run& run) {
  RegisterOps(at::kCPU, CountingOps());
  counts = {};
  run();
  RegisterOps(at::kCPU, CpuOps());
  return counts;
}

}  // namespace trainerd::engine::testing
