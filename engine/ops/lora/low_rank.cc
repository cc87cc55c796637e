// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/lora/low_rank.h"

#include <vector>

#include "engine/ops/gemm.h"
#include "engine/ops/lora/low_rank_products.h"
#include "engine/ops/op_table.h"

namespace trainerd::engine {
namespace {

bool Drops(const LowRankWeights& weights, const DropoutRows& dropout) {
  return weights.dropout > 0.0 && dropout.row_keys_T.defined();
}

}  // namespace

at::Tensor LowRankForward(const at::Tensor& x, const at::Tensor& y, const LowRankWeights& weights,
                          const DropoutRows& dropout) {
  if (!Drops(weights, dropout)) return OpsFor(x.device()).low_rank_forward(x, y, weights);
  std::vector<at::Tensor> parts;
  for (const LowRankTerm& term : weights.terms) {
    parts.push_back(MatMul(Dropout(x, weights.dropout, term.stream, dropout), term.a.weight.t()));
  }
  at::Tensor u = JoinedColumns(parts).mul_(weights.scale);
  AddLowRankUp(y, u, weights);
  return u;
}

void LowRankBackward(const LowRankWeights& weights, const at::Tensor& d_y,
                     const LowRankInputs& inputs, const at::Tensor& d_x) {
  if (!Drops(weights, inputs.dropout)) {
    OpsFor(d_y.device()).low_rank_backward(weights, d_y, inputs.x, inputs.u_TR, d_x);
    return;
  }
  const std::vector<at::Tensor> parts = LowRankUpBackward(weights, d_y, inputs.u_TR);
  for (size_t i = 0; i < weights.terms.size(); ++i) {
    const LowRankTerm& term = weights.terms[i];
    const auto dropped = [&](const at::Tensor& x) {
      return Dropout(x, weights.dropout, term.stream, inputs.dropout);
    };
    AddMatMul(term.a.grad, parts[i].t(), dropped(inputs.x));
    if (d_x.defined()) d_x.add_(dropped(MatMul(parts[i], term.a.weight)));
  }
}

}  // namespace trainerd::engine
