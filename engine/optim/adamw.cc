// SPDX-License-Identifier: Apache-2.0
#include "engine/optim/adamw.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

#include "engine/ops/op_table.h"

namespace trainerd::engine {

AdamW::AdamW(ParameterSet& parameters, const Options& options)
    : parameters_(parameters),
      options_(options),
      exp_avg_(at::zeros_like(parameters.flat_master())),
      exp_avg_sq_(at::zeros_like(parameters.flat_master())) {}

void AdamW::Step(double learning_rate, double gradient_factor, int64_t step) {
  const at::NoGradGuard no_grad;
  const OpTable& ops = OpsFor(parameters_.device());
  AdamWUpdate update{.learning_rate = learning_rate,
                     .beta1 = options_.beta1,
                     .beta2 = options_.beta2,
                     .eps = options_.eps,
                     .gradient_factor = gradient_factor,
                     .step = step};
  const auto apply = [&](int64_t begin, int64_t end, bool decay) {
    const auto run = [&](const at::Tensor& flat) { return flat.narrow(0, begin, end - begin); };
    update.weight_decay = decay || options_.decay_norms ? options_.weight_decay : 0.0;
    const bool has_copy = parameters_.precision() != Precision::kFp32;
    ops.adamw(run(parameters_.flat_master()), run(parameters_.flat_grad()), run(exp_avg_),
              run(exp_avg_sq_), has_copy ? run(parameters_.flat_value()) : at::Tensor(), update);
  };
  for (const ParameterSet::DecayRun& run : parameters_.decay_runs())
    apply(run.begin, run.end, run.decay);
}

}  // namespace trainerd::engine
