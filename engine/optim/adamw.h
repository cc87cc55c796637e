// SPDX-License-Identifier: Apache-2.0
// AdamW with decoupled weight decay over the flat parameter buffer: the optimizer adamw, and the
// part of muon that is no matrix. The same update as torch.optim.AdamW. Source: Loshchilov &
// Hutter, "Decoupled Weight Decay Regularization" (2019).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "engine/optim/optimizer.h"

namespace trainerd::engine {

struct AdamWOptions {
  double beta1 = 0.0;
  double beta2 = 0.0;
  double eps = 0.0;
};

// The update of the parameters in some runs of the flat buffers. Not thread-safe.
class AdamWUpdater {
 public:
  // Keeps a reference to `parameters`.
  AdamWUpdater(const AdamWOptions& options, std::vector<DecayRun> runs, ParameterSet& parameters);

  // One pass reads gradient, master and both moments, and writes master, moments and, in bf16, the
  // compute copy.
  void Step(double learning_rate, double gradient_factor, int64_t step);
  std::vector<OptimizerState> State() const;

 private:
  const AdamWOptions options_;
  const std::vector<DecayRun> runs_;
  ParameterSet& parameters_;
  at::Tensor exp_avg_, exp_avg_sq_;  // RunBuffer
};

}  // namespace trainerd::engine
