// SPDX-License-Identifier: Apache-2.0
// AdamW with decoupled weight decay over the flat parameter buffer: one pass reads gradient, master
// and both moments and writes master, moments and, in bf16, the compute copy. The same update as
// torch.optim.AdamW. Source: Loshchilov & Hutter, "Decoupled Weight Decay Regularization" (2019).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "engine/model/parameters.h"

namespace trainerd::engine {

class AdamW {
 public:
  struct Options {
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    double weight_decay = 0.01;
    bool decay_norms = false;  // also norms' weights and biases
  };

  // Allocates the moments (0). Keeps a reference to `parameters`, which must outlive it.
  AdamW(ParameterSet& parameters, const Options& options);

  // Update number `step` (from 1) with gradient × gradient_factor (the clip factor). The compute
  // copy is published.
  void Step(double learning_rate, double gradient_factor, int64_t step);

  // fp32, 1-D, laid out as ParameterSet::flat_master. Restore copies into them.
  at::Tensor& exp_avg() { return exp_avg_; }
  at::Tensor& exp_avg_sq() { return exp_avg_sq_; }

 private:
  ParameterSet& parameters_;
  Options options_;
  at::Tensor exp_avg_, exp_avg_sq_;
};

}  // namespace trainerd::engine
