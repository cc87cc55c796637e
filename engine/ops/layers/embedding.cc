// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/layers/embedding.h"

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_unique.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>

#include "engine/ops/autograd.h"
#include "engine/ops/gemm.h"
#include "engine/ops/op_table.h"

namespace trainerd::engine {
namespace {

// On CUDA the deterministic variants of index ops sort the indices, which matters only for indices
// that occur twice. The setting belongs to the process, and only one thread computes on a device.
class WithoutSorting {
 public:
  WithoutSorting()
      : deterministic_(at::globalContext().deterministicAlgorithms()),
        warn_only_(at::globalContext().deterministicAlgorithmsWarnOnly()) {
    at::globalContext().setDeterministicAlgorithms(false, warn_only_);
  }
  ~WithoutSorting() { at::globalContext().setDeterministicAlgorithms(deterministic_, warn_only_); }
  WithoutSorting(const WithoutSorting&) = delete;
  WithoutSorting& operator=(const WithoutSorting&) = delete;

 private:
  const bool deterministic_;
  const bool warn_only_;
};

// grad[ids[t]] += d[t]. Of a bf16 gradient, the rows that occur are summed in fp32.
void AddRows(const at::Tensor& d_TD, const at::Tensor& ids_T, const at::Tensor& grad_VD) {
  const OpTable& ops = OpsFor(ids_T.device());
  if (grad_VD.scalar_type() == at::kFloat) return ops.embedding_backward(d_TD, ids_T, grad_VD);
  const auto [rows, positions] = at::_unique(ids_T, /*sorted=*/true, /*return_inverse=*/true);
  const at::Tensor sums = grad_VD.index_select(0, rows).to(at::kFloat);
  ops.embedding_backward(d_TD, positions, sums);
  const WithoutSorting each_row_once;
  const_cast<at::Tensor&>(grad_VD).index_copy_(0, rows, sums.to(grad_VD.scalar_type()));
}

// scale × Aᵀ[ids]: [T, rank].
at::Tensor LookUpA(const at::Tensor& ids_T, const LowRankWeights& low_rank) {
  return at::index_select(low_rank.a.weight, 1, ids_T).t().mul(low_rank.scale);
}

void LowRankBackward(const at::Tensor& d_TD, const at::Tensor& ids_T,
                     const LowRankWeights& low_rank) {
  const LowRankTerm& term = low_rank.terms.front();
  AddMatMul(term.b.grad, d_TD.t(), LookUpA(ids_T, low_rank));
  const at::Tensor d_u = MatMul(d_TD, term.b.weight).mul_(low_rank.scale);
  const_cast<at::Tensor&>(term.a.grad).index_add_(1, ids_T, d_u.t().to(at::kFloat));
}

}  // namespace

at::Tensor Embedding(const at::Tensor& ids_T, const WeightAndGrad& weight,
                     const LowRankWeights& low_rank) {
  const bool has_adapter = !low_rank.terms.empty();
  at::Tensor out;
  {
    at::NoGradGuard no_grad;
    out = at::index_select(weight.weight, 0, ids_T);
    if (has_adapter) AddProduct(out, LookUpA(ids_T, low_rank), low_rank.terms.front().b.weight.t());
  }
  if (!IsRecording() || !(weight.grad.defined() || has_adapter)) return out;
  RecordBackward("Embedding", {}, {out},
                 [weight, ids_T, low_rank](std::vector<at::Tensor>& gradients) {
                   const at::Tensor& d_TD = gradients[0];
                   if (!d_TD.defined()) return std::vector<at::Tensor>{};
                   if (weight.grad.defined()) AddRows(d_TD, ids_T, weight.grad);
                   if (!low_rank.terms.empty()) LowRankBackward(d_TD, ids_T, low_rank);
                   return std::vector<at::Tensor>{};
                 });
  return out;
}

at::Tensor SelectRows(const at::Tensor& x, const at::Tensor& rows) {
  at::Tensor out;
  {
    at::NoGradGuard no_grad;
    out = at::index_select(Detached(x), 0, rows);
  }
  if (!IsRecording() || !x.requires_grad()) return out;
  RecordBackward(
      "SelectRows", {x}, {out}, [rows, count = x.size(0)](std::vector<at::Tensor>& gradients) {
        at::Tensor d_x = at::zeros({count, gradients[0].size(1)}, gradients[0].options());
        const WithoutSorting each_row_once;
        d_x.index_copy_(0, rows, gradients[0]);
        return std::vector<at::Tensor>{d_x};
      });
  return out;
}

}  // namespace trainerd::engine
