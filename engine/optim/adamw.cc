// SPDX-License-Identifier: Apache-2.0
// AdamW with decoupled weight decay over the flat parameter buffer. One pass reads gradient, master
// and both moments, and writes master, moments and, in bf16, the compute copy. The same update as
// torch.optim.AdamW. Source: Loshchilov & Hutter, "Decoupled Weight Decay Regularization" (2019).
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

#include <memory>

#include "engine/ops/op_table.h"
#include "engine/optim/optimizer.h"
#include "proto/base/status_macros.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {
namespace {

class AdamW final : public Optimizer {
 public:
  AdamW(const v1::OptimizerConfig& config, ParameterSet& parameters)
      : parameters_(parameters),
        beta1_(config.betas(0)),
        beta2_(config.betas(1)),
        eps_(config.eps()),
        runs_(DecayRuns(parameters, config.weight_decay(), config.decay_norms())),
        exp_avg_(at::zeros_like(parameters.flat_master())),
        exp_avg_sq_(at::zeros_like(parameters.flat_master())) {}

  void Step(double learning_rate, double gradient_factor, int64_t step) override {
    const at::NoGradGuard no_grad;
    const OpTable& ops = OpsFor(parameters_.device());
    const bool has_copy = parameters_.precision() != Precision::kFp32;
    for (const DecayRun& run : runs_) {
      const auto part = [&](const at::Tensor& flat) {
        return flat.narrow(0, run.begin, run.end - run.begin);
      };
      ops.adamw(part(parameters_.flat_master()), part(parameters_.flat_grad()), part(exp_avg_),
                part(exp_avg_sq_), has_copy ? part(parameters_.flat_value()) : at::Tensor(),
                {.learning_rate = learning_rate,
                 .beta1 = beta1_,
                 .beta2 = beta2_,
                 .eps = eps_,
                 .weight_decay = run.weight_decay,
                 .gradient_factor = gradient_factor,
                 .step = step});
    }
  }

  std::vector<OptimizerState> State() override {
    return {FlatState("exp_avg", exp_avg_, parameters_),
            FlatState("exp_avg_sq", exp_avg_sq_, parameters_)};
  }

 private:
  ParameterSet& parameters_;
  const double beta1_, beta2_, eps_;
  const std::vector<DecayRun> runs_;
  at::Tensor exp_avg_, exp_avg_sq_;  // laid out as ParameterSet::flat_master
};

}  // namespace

std::unique_ptr<Optimizer> MakeAdamW(const v1::OptimizerConfig& config, ParameterSet& parameters) {
  TRAINERD_CHECK(config.betas_size() == 2);  // by the rules of the job file
  return std::make_unique<AdamW>(config, parameters);
}

}  // namespace trainerd::engine
