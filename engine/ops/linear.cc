// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/linear.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>

#include <algorithm>

#include "engine/ops/gemm.h"
#include "engine/ops/op_table.h"

namespace trainerd::engine {
namespace {

using Parts = std::vector<const LinearWeights*>;

Parts PartsOf(const LinearWeights& weights) {
  Parts parts = {&weights};
  for (const LinearWeights& part : weights.more) parts.push_back(&part);
  return parts;
}

at::Tensor Product(const at::Tensor& x, const LinearWeights& part) {
  at::Tensor y = MatMul(x, part.weight.t());
  if (part.bias.defined()) y.add_(part.bias);
  return y;
}

at::Tensor Forward(const at::Tensor& x, const LinearWeights& weights) {
  if (weights.more.empty()) return Product(x, weights);
  std::vector<at::Tensor> products;
  for (const LinearWeights* part : PartsOf(weights)) products.push_back(Product(x, *part));
  return at::cat(products, 1);
}

// Gradient of x (undefined unless requested). Adds to the main gradients of what trains; `x` is
// undefined if no matrix trains.
at::Tensor Backward(const LinearWeights& weights, const at::Tensor& d_y, const at::Tensor& x,
                    bool with_d_x) {
  at::Tensor d_x;
  int64_t begin = 0;
  for (const LinearWeights* part : PartsOf(weights)) {
    const int64_t size = part->weight.size(0);
    const at::Tensor d = weights.more.empty() ? d_y : d_y.narrow(1, begin, size).contiguous();
    begin += size;
    if (part->weight_grad.defined()) AddMatMul(part->weight_grad, d.t(), x);
    if (part->bias_grad.defined()) OpsFor(d.device()).add_column_sums(part->bias_grad, d);
    if (!with_d_x) continue;
    at::Tensor product = MatMul(d, part->weight);
    d_x = d_x.defined() ? d_x.add_(product) : std::move(product);
  }
  return d_x;
}

}  // namespace

at::Tensor Linear(const at::Tensor& x, const LinearWeights& weights, const Recompute& recompute) {
  at::Tensor y;
  {
    at::NoGradGuard no_grad;
    y = Forward(Detached(x), weights);
  }
  const Parts parts = PartsOf(weights);
  const bool matrix_trains = std::any_of(
      parts.begin(), parts.end(), [](const auto* part) { return part->weight_grad.defined(); });
  const bool bias_trains = std::any_of(parts.begin(), parts.end(),
                                       [](const auto* part) { return part->bias_grad.defined(); });
  const bool with_d_x = x.requires_grad();
  if (!IsRecording() || !(with_d_x || matrix_trains || bias_trains)) return y;

  const bool keep = matrix_trains && recompute == nullptr;
  auto backward = [weights, with_d_x, recompute = matrix_trains ? recompute : nullptr,
                   kept = keep ? Detached(x) : at::Tensor()](std::vector<at::Tensor>& gradients) {
    return std::vector<at::Tensor>{
        Backward(weights, gradients[0], recompute ? recompute() : kept, with_d_x)};
  };
  RecordBackward("Linear", {x}, {y}, std::move(backward));
  return y;
}

}  // namespace trainerd::engine
