// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/lora/low_rank_products.h"

#include <ATen/ops/cat.h>

#include "engine/ops/gemm.h"

namespace trainerd::engine {
namespace {

// The columns of term `index` in a tensor [T, R].
at::Tensor PartOf(const at::Tensor& x_TR, const LowRankWeights& weights, size_t index) {
  const int64_t rank = weights.terms[index].a.weight.size(0);
  return x_TR.narrow(1, static_cast<int64_t>(index) * rank, rank);
}

at::Tensor ColumnsOf(const at::Tensor& y, const LowRankTerm& term) {
  return y.narrow(1, term.begin, term.b.weight.size(0));
}

}  // namespace

at::Tensor LowRankForwardProducts(const at::Tensor& x, const at::Tensor& y,
                                  const LowRankWeights& weights) {
  at::Tensor u = MatMul(x, weights.a.weight.t()).mul_(weights.scale);
  AddLowRankUp(y, u, weights);
  return u;
}

void LowRankBackwardProducts(const LowRankWeights& weights, const at::Tensor& d_y,
                             const at::Tensor& x, const at::Tensor& u_TR, const at::Tensor& d_x) {
  const at::Tensor d_u = JoinedColumns(LowRankUpBackward(weights, d_y, u_TR));
  AddMatMul(weights.a.grad, d_u.t(), x);
  if (d_x.defined()) AddProduct(d_x, d_u, weights.a.weight);
}

void AddLowRankUp(const at::Tensor& y, const at::Tensor& u_TR, const LowRankWeights& weights) {
  for (size_t i = 0; i < weights.terms.size(); ++i) {
    const LowRankTerm& term = weights.terms[i];
    AddProduct(ColumnsOf(y, term), PartOf(u_TR, weights, i), term.b.weight.t());
  }
}

std::vector<at::Tensor> LowRankUpBackward(const LowRankWeights& weights, const at::Tensor& d_y,
                                          const at::Tensor& u_TR) {
  std::vector<at::Tensor> parts;
  for (size_t i = 0; i < weights.terms.size(); ++i) {
    const LowRankTerm& term = weights.terms[i];
    // Copied once: the products need it contiguous.
    const at::Tensor d = ColumnsOf(d_y, term).contiguous();
    // u holds the factor `scale` already.
    AddMatMul(term.b.grad, d.t(), PartOf(u_TR, weights, i));
    parts.push_back(MatMul(d, term.b.weight).mul_(weights.scale));
  }
  return parts;
}

at::Tensor JoinedColumns(const std::vector<at::Tensor>& parts) {
  return parts.size() == 1 ? parts.front() : at::cat(parts, 1);
}

}  // namespace trainerd::engine
