// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/lora/low_rank.h"

#include <ATen/ops/cat.h>

#include <vector>

#include "engine/ops/gemm.h"

namespace trainerd::engine {
namespace {

bool Drops(const LowRankWeights& weights, const DropoutRows& dropout) {
  return weights.dropout > 0.0 && dropout.row_keys_T.defined();
}

// The part of term `index` of a tensor [T, R].
at::Tensor PartOf(const at::Tensor& x_TR, const LowRankWeights& weights, size_t index) {
  const int64_t rank = weights.terms[index].a.weight.size(0);
  return x_TR.narrow(1, static_cast<int64_t>(index) * rank, rank);
}

at::Tensor Columns(const at::Tensor& y, const LowRankTerm& term) {
  return y.narrow(1, term.begin, term.b.weight.size(0));
}

at::Tensor Joined(const std::vector<at::Tensor>& parts) {
  return parts.size() == 1 ? parts.front() : at::cat(parts, 1);
}

}  // namespace

at::Tensor LowRankDown(const at::Tensor& x, const LowRankWeights& weights,
                       const DropoutRows& dropout) {
  if (!Drops(weights, dropout)) return MatMul(x, weights.a.weight.t()).mul_(weights.scale);
  std::vector<at::Tensor> parts;
  for (const LowRankTerm& term : weights.terms) {
    parts.push_back(MatMul(Dropout(x, weights.dropout, term.stream, dropout), term.a.weight.t()));
  }
  return Joined(parts).mul_(weights.scale);
}

void AddLowRankUp(const at::Tensor& y, const at::Tensor& u_TR, const LowRankWeights& weights) {
  for (size_t i = 0; i < weights.terms.size(); ++i) {
    const LowRankTerm& term = weights.terms[i];
    AddProduct(Columns(y, term), PartOf(u_TR, weights, i), term.b.weight.t());
  }
}

void LowRankBackward(const LowRankWeights& weights, const at::Tensor& d_y,
                     const LowRankInputs& inputs, const at::Tensor& d_x) {
  std::vector<at::Tensor> parts;
  for (size_t i = 0; i < weights.terms.size(); ++i) {
    const LowRankTerm& term = weights.terms[i];
    // Copied once: the products need it contiguous.
    const at::Tensor d = Columns(d_y, term).contiguous();
    // u holds the factor `scale` already.
    AddMatMul(term.b.grad, d.t(), PartOf(inputs.u_TR, weights, i));
    parts.push_back(MatMul(d, term.b.weight).mul_(weights.scale));
  }
  if (!Drops(weights, inputs.dropout)) {
    const at::Tensor d_u = Joined(parts);
    AddMatMul(weights.a.grad, d_u.t(), inputs.x);
    if (d_x.defined()) AddProduct(d_x, d_u, weights.a.weight);
    return;
  }
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
