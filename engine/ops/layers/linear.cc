// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/layers/linear.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "engine/ops/fp32_gradient.h"
#include "engine/ops/gemm.h"
#include "engine/ops/lora/low_rank.h"
#include "engine/ops/op_table.h"

namespace trainerd::engine {
namespace {

using Parts = std::vector<const LinearWeights*>;

Parts PartsOf(const LinearWeights& weights) {
  Parts parts = {&weights};
  for (const LinearWeights& part : weights.more) parts.push_back(&part);
  return parts;
}

// The matrix to multiply with. A quantized one is dequantized into memory that lives as long as the
// result: it is not kept for the backward, which dequantizes it again.
at::Tensor MatrixOf(const LinearWeights& part) {
  if (part.nf4.empty()) return part.weight;
  const at::Tensor matrix =
      at::empty(part.weight.sizes(), part.weight.options().device(part.nf4[0].codes.device()));
  int64_t begin = 0;
  for (const Nf4Matrix& member : part.nf4) {
    DequantizeNf4(member, matrix.narrow(0, begin, member.rows));
    begin += member.rows;
  }
  return matrix;
}

at::Tensor Product(const at::Tensor& x, const LinearWeights& part) {
  at::Tensor y = MatMul(x, MatrixOf(part).t());
  if (part.bias.defined()) y.add_(part.bias);
  return y;
}

at::Tensor Forward(const at::Tensor& x, const LinearWeights& weights) {
  if (weights.more.empty()) return Product(x, weights);
  std::vector<at::Tensor> products;
  for (const LinearWeights* part : PartsOf(weights)) products.push_back(Product(x, *part));
  return at::cat(products, 1);
}

// Gradient of x (undefined unless requested). Adds to the main gradients of what trains; `inputs.x`
// is undefined if no matrix trains.
at::Tensor Backward(const LinearWeights& weights, const at::Tensor& d_y,
                    const LowRankInputs& inputs, bool with_d_x) {
  at::Tensor d_x;
  int64_t begin = 0;
  for (const LinearWeights* part : PartsOf(weights)) {
    const int64_t size = part->weight.size(0);
    const at::Tensor d = weights.more.empty() ? d_y : d_y.narrow(1, begin, size).contiguous();
    begin += size;
    if (part->weight_grad.defined()) AddMatMul(part->weight_grad, d.t(), inputs.x);
    if (part->bias_grad.defined())
      OpsFor(d.device()).add_column_sums(Fp32Gradient(part->bias_grad).sum(), d);
    if (!with_d_x) continue;
    at::Tensor product = MatMul(d, MatrixOf(*part));
    d_x = d_x.defined() ? d_x.add_(product) : std::move(product);
  }
  if (!weights.low_rank.terms.empty()) LowRankBackward(weights.low_rank, d_y, inputs, d_x);
  return d_x;
}

}  // namespace

at::Tensor Linear(const at::Tensor& x, const LinearWeights& weights, const Recompute& recompute,
                  const DropoutRows& dropout) {
  const bool has_adapter = !weights.low_rank.terms.empty();
  at::Tensor y, u;
  {
    at::NoGradGuard no_grad;
    y = Forward(Detached(x), weights);
    if (has_adapter) u = LowRankForward(Detached(x), y, weights.low_rank, dropout);
  }
  const Parts parts = PartsOf(weights);
  const bool matrix_trains = has_adapter || std::any_of(parts.begin(), parts.end(), [](auto* part) {
                               return part->weight_grad.defined();
                             });
  const bool bias_trains = std::any_of(parts.begin(), parts.end(),
                                       [](const auto* part) { return part->bias_grad.defined(); });
  const bool with_d_x = x.requires_grad();
  if (!IsRecording() || !(with_d_x || matrix_trains || bias_trains)) return y;

  const bool keep = matrix_trains && recompute == nullptr;
  auto backward = [weights, with_d_x, dropout, u, recompute = matrix_trains ? recompute : nullptr,
                   kept = keep ? Detached(x) : at::Tensor()](std::vector<at::Tensor>& gradients) {
    const LowRankInputs inputs{.x = recompute ? recompute() : kept, .u_TR = u, .dropout = dropout};
    return std::vector<at::Tensor>{Backward(weights, gradients[0], inputs, with_d_x)};
  };
  RecordBackward("Linear", {x}, {y}, std::move(backward));
  return y;
}

}  // namespace trainerd::engine
