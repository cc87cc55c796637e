// SPDX-License-Identifier: Apache-2.0
// The MLP of a mixture of experts: a router chooses a few experts for each token, and the layer
// returns the weighted sum of their outputs. Sources: Shazeer et al., "Outrageously Large Neural
// Networks" (2017); for the load-balancing loss Fedus et al., "Switch Transformers" (2021),
// equations 4 to 6, over all layers at once as in transformers 5.23.0 (models/qwen3_moe).
// Legend: T tokens, D hidden size, E experts, K experts per token, F MLP size of an expert,
// L layers.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "engine/ops/autograd.h"
#include "engine/ops/layers/swiglu.h"
#include "engine/ops/weights.h"

namespace trainerd::engine {

// How the routers of all layers spread the tokens of one forward pass. Running a layer again writes
// the same values.
struct RouterLoad {
  // fp32: tokens that chose the expert, and sums of its probabilities.
  at::Tensor chosen_LE;
  at::Tensor probabilities_LE;
  // Tokens × layers.
  double rows = 0.0;
  // The gradients of the routers get that of this factor × LoadBalancingLoss.
  double gradient_factor = 0.0;
};

// E × Σ over experts of (share of the choices × mean probability): K if all experts are alike. fp32
// scalar tensor.
at::Tensor LoadBalancingLoss(const RouterLoad& load);

struct Expert {
  LinearWeights gate_up;  // [2F, D]
  LinearWeights down;     // [D, F]
};

struct Mixture {
  WeightAndGrad router;  // [E, D]
  std::vector<Expert> experts;
  int64_t experts_per_token = 1;
  // The probabilities of the chosen experts are divided by their sum.
  bool normalizes = false;
  Activated (*activate)(const at::Tensor& gate_up) = nullptr;
};

// x [T, D] → [T, D]. `load` may be null; else the layer writes its row `layer`. The number of
// tokens per expert goes to the host, which waits for the device.
at::Tensor MixtureOfExperts(const Recomputable& x_TD, const Mixture& mixture,
                            const std::shared_ptr<RouterLoad>& load, int64_t layer);

}  // namespace trainerd::engine
