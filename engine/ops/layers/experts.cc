// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/layers/experts.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <optional>
#include <utility>

#include "engine/ops/gemm.h"
#include "engine/ops/layers/linear.h"

namespace trainerd::engine {
namespace {

// The input of the layer. The backward recomputes it once for all experts.
class SharedInput {
 public:
  explicit SharedInput(const Recomputable& x)
      : recompute_(x.recompute), x_(x.recompute ? at::Tensor() : Detached(x.tensor)) {}

  const at::Tensor& Get() {
    if (!x_.defined()) x_ = recompute_();
    return x_;
  }
  void Drop() { x_ = at::Tensor(); }

 private:
  Recompute recompute_;
  at::Tensor x_;
};

// Where each choice of an expert by a token is in the order of the experts. A choice is an element
// of [T, K].
struct Choices {
  // int64 [T × K]: the position of each choice in that order.
  at::Tensor position;
  // Of each expert that was chosen: its index, the choices (int64 [n]) and their tokens (int64
  // [n]).
  std::vector<size_t> experts;
  std::vector<at::Tensor> slots;
  std::vector<at::Tensor> tokens;
};

Choices Sorted(const at::Tensor& chosen_TK, int64_t num_experts, int64_t experts_per_token,
               at::Tensor& counts_E) {
  const at::Tensor flat = chosen_TK.flatten();
  const auto [sorted, order] = at::sort(flat, /*stable=*/std::optional<bool>(true));
  counts_E = at::bincount(flat, /*weights=*/{}, num_experts);
  const at::Tensor host = counts_E.cpu();
  Choices choices{.position = at::empty_like(order)};
  choices.position.index_copy_(0, order, at::arange(order.numel(), order.options()));
  const at::Tensor tokens = order.div(experts_per_token, "floor");
  int64_t begin = 0;
  for (int64_t e = 0; e < num_experts; ++e) {
    const int64_t count = host.const_data_ptr<int64_t>()[e];
    if (count == 0) continue;
    choices.experts.push_back(static_cast<size_t>(e));
    choices.slots.push_back(order.narrow(0, begin, count));
    choices.tokens.push_back(tokens.narrow(0, begin, count));
    begin += count;
  }
  return choices;
}

// The sum over the choices of each token: rows in the order of the experts → [T, D]. The sum is
// fp32.
at::Tensor SumOfChoices(const at::Tensor& rows, const at::Tensor& position, int64_t tokens) {
  return at::index_select(rows, 0, position)
      .view({tokens, -1, rows.size(1)})
      .sum(1, /*keepdim=*/false, at::kFloat)
      .to(rows.scalar_type());
}

// What the router's backward needs.
struct Routing {
  at::Tensor probabilities_TE;  // fp32
  at::Tensor chosen_TK;         // int64
  at::Tensor weights_TK;        // fp32
  at::Tensor sums_T1;           // fp32, of the chosen probabilities; undefined: not normalized
};

Routing ChooseExperts(const at::Tensor& x_TD, const Mixture& mixture) {
  Routing routing;
  const at::Tensor logits = MatMul(x_TD, mixture.router.weight.t());
  routing.probabilities_TE = at::softmax(logits, 1, at::kFloat);
  std::tie(routing.weights_TK, routing.chosen_TK) =
      at::topk(routing.probabilities_TE, mixture.experts_per_token, 1);
  if (!mixture.normalizes) return routing;
  routing.sums_T1 = routing.weights_TK.sum(1, /*keepdim=*/true);
  routing.weights_TK = routing.weights_TK / routing.sums_T1;
  return routing;
}

// Gradient of the router's logits, fp32. `d_weights_TK` may be undefined: 0.
at::Tensor LogitsGradient(const Routing& routing, const at::Tensor& d_weights_TK,
                          const RouterLoad* load) {
  const at::Tensor& p = routing.probabilities_TE;
  at::Tensor d_p = at::zeros_like(p);
  if (d_weights_TK.defined()) {
    at::Tensor d = d_weights_TK;
    if (routing.sums_T1.defined())
      d = (d - (d * routing.weights_TK).sum(1, /*keepdim=*/true)) / routing.sums_T1;
    d_p.scatter_(1, routing.chosen_TK, d);
  }
  if (load != nullptr && load->gradient_factor != 0.0) {
    const double factor =
        load->gradient_factor * static_cast<double>(p.size(1)) / (load->rows * load->rows);
    d_p.add_(load->chosen_LE.sum(0), factor);
  }
  return p * (d_p - (p * d_p).sum(1, /*keepdim=*/true));
}

// A part of the layer's input for one expert.
struct ExpertInput {
  at::Tensor x;         // [n, D]
  at::Tensor weight_n;  // compute dtype
};

std::vector<ExpertInput> Route(const Recomputable& x, const std::shared_ptr<SharedInput>& shared,
                               const Mixture& mixture, const std::shared_ptr<RouterLoad>& load,
                               int64_t layer, Choices& choices) {
  std::vector<ExpertInput> inputs;
  Routing routing;
  {
    at::NoGradGuard no_grad;
    const at::Tensor x_TD = Detached(x.tensor);
    routing = ChooseExperts(x_TD, mixture);
    at::Tensor counts_E;
    choices = Sorted(routing.chosen_TK, mixture.router.weight.size(0), mixture.experts_per_token,
                     counts_E);
    if (load != nullptr) {
      load->chosen_LE[layer].copy_(counts_E);
      load->probabilities_LE[layer].copy_(routing.probabilities_TE.sum(0));
    }
    const at::Tensor weights = routing.weights_TK.flatten().to(x_TD.scalar_type());
    for (size_t i = 0; i < choices.experts.size(); ++i) {
      inputs.push_back({at::index_select(x_TD, 0, choices.tokens[i]),
                        at::index_select(weights, 0, choices.slots[i])});
    }
  }
  const bool with_d_x = x.tensor.requires_grad();
  if (!IsRecording() || !(with_d_x || mixture.router.grad.defined())) return inputs;
  std::vector<at::Tensor> outputs;
  for (const ExpertInput& input : inputs) outputs.insert(outputs.end(), {input.x, input.weight_n});
  std::vector<int64_t> counts;
  for (const at::Tensor& tokens : choices.tokens) counts.push_back(tokens.numel());
  RecordBackward(
      "Route", {x.tensor}, outputs,
      [shared, routing, load, with_d_x, counts, router = mixture.router,
       position = choices.position](std::vector<at::Tensor>& gradients) {
        const int64_t tokens = routing.probabilities_TE.size(0);
        const auto options = router.weight.options();
        std::vector<at::Tensor> d_x, d_weight;
        for (size_t i = 0; i < counts.size(); ++i) {
          const at::Tensor &rows = gradients[2 * i], &weight = gradients[2 * i + 1];
          d_x.push_back(rows.defined() ? rows
                                       : at::zeros({counts[i], router.weight.size(1)}, options));
          d_weight.push_back(weight.defined() ? weight : at::zeros({counts[i]}, options));
        }
        const at::Tensor d_weights = at::index_select(at::cat(d_weight), 0, position)
                                         .view(routing.chosen_TK.sizes())
                                         .to(at::kFloat);
        const at::Tensor d_logits =
            LogitsGradient(routing, d_weights, load.get()).to(options.dtype());
        if (router.grad.defined()) AddMatMul(router.grad, d_logits.t(), shared->Get());
        shared->Drop();
        if (!with_d_x) return std::vector<at::Tensor>{at::Tensor()};
        at::Tensor sum = SumOfChoices(at::cat(d_x), position, tokens);
        AddProduct(sum, d_logits, router.weight);
        return std::vector<at::Tensor>{sum};
      });
  return inputs;
}

// Each row × its weight.
Activated WeighRows(const Activated& activated, const at::Tensor& weight_n) {
  at::Tensor out;
  const at::Tensor column = Detached(weight_n).unsqueeze(1);
  {
    at::NoGradGuard no_grad;
    out = Detached(activated.out) * column;
  }
  if (!IsRecording() || !(activated.out.requires_grad() || weight_n.requires_grad()))
    return {out, nullptr};
  const Recompute rows = activated.recompute
                             ? activated.recompute
                             : Recompute([kept = Detached(activated.out)] { return kept; });
  RecordBackward("WeighRows", {activated.out, weight_n}, {out},
                 [rows, column](std::vector<at::Tensor>& gradients) {
                   const at::Tensor d_weight = (gradients[0].to(at::kFloat) * rows())
                                                   .sum(1, /*keepdim=*/false, at::kFloat)
                                                   .to(column.scalar_type());
                   return std::vector<at::Tensor>{gradients[0] * column, d_weight};
                 });
  return {out, [rows, column] { return rows() * column; }};
}

at::Tensor Combine(const std::vector<at::Tensor>& outputs, const Choices& choices, int64_t tokens) {
  at::Tensor sum;
  bool needs_gradient = false;
  {
    at::NoGradGuard no_grad;
    std::vector<at::Tensor> rows;
    for (const at::Tensor& output : outputs) {
      rows.push_back(Detached(output));
      needs_gradient |= output.requires_grad();
    }
    sum = SumOfChoices(at::cat(rows), choices.position, tokens);
  }
  if (!IsRecording() || !needs_gradient) return sum;
  RecordBackward("Combine", outputs, {sum},
                 [tokens_of = choices.tokens](std::vector<at::Tensor>& gradients) {
                   std::vector<at::Tensor> result;
                   for (const at::Tensor& tokens : tokens_of)
                     result.push_back(at::index_select(gradients[0], 0, tokens));
                   return result;
                 });
  return sum;
}

}  // namespace

at::Tensor LoadBalancingLoss(const RouterLoad& load) {
  const auto experts = static_cast<double>(load.chosen_LE.size(1));
  return (load.chosen_LE.sum(0) * load.probabilities_LE.sum(0)).sum() *
         (experts / (load.rows * load.rows));
}

at::Tensor MixtureOfExperts(const Recomputable& x, const Mixture& mixture,
                            const std::shared_ptr<RouterLoad>& load, int64_t layer) {
  const auto shared = std::make_shared<SharedInput>(x);
  Choices choices;
  const std::vector<ExpertInput> inputs = Route(x, shared, mixture, load, layer, choices);
  std::vector<at::Tensor> outputs;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Expert& expert = mixture.experts[choices.experts[i]];
    const at::Tensor gate_up =
        Linear(inputs[i].x, expert.gate_up, [shared, tokens = choices.tokens[i]] {
          return at::index_select(shared->Get(), 0, tokens);
        });
    const Activated weighed = WeighRows(mixture.activate(gate_up), inputs[i].weight_n);
    outputs.push_back(Linear(weighed.out, expert.down, weighed.recompute));
  }
  return Combine(outputs, choices, x.tensor.size(0));
}

}  // namespace trainerd::engine
