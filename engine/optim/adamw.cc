// SPDX-License-Identifier: Apache-2.0
#include "engine/optim/adamw.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "engine/ops/op_table.h"
#include "engine/optim/weight_window.h"
#include "proto/base/status_macros.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {

AdamWUpdater::AdamWUpdater(const AdamWOptions& options, std::vector<DecayRun> runs,
                           ParameterSet& parameters)
    : options_(options),
      runs_(std::move(runs)),
      parameters_(parameters),
      exp_avg_(RunBuffer(runs_, parameters)),
      exp_avg_sq_(RunBuffer(runs_, parameters)) {}

void AdamWUpdater::Step(double learning_rate, double gradient_factor, int64_t step) {
  const at::NoGradGuard no_grad;
  const OpTable& ops = OpsFor(parameters_.device());
  for (const DecayRun& run : runs_) {
    for (int64_t begin = run.begin; begin < run.end; begin += kWindowElements) {
      const int64_t size = std::min(kWindowElements, run.end - begin),
                    state_begin = run.state_begin + begin - run.begin;
      const WeightWindow window(parameters_, begin, size);
      ops.adamw(window.master(), window.grad(), exp_avg_.narrow(0, state_begin, size),
                exp_avg_sq_.narrow(0, state_begin, size), window.value(),
                {.learning_rate = learning_rate,
                 .beta1 = options_.beta1,
                 .beta2 = options_.beta2,
                 .eps = options_.eps,
                 .weight_decay = run.weight_decay,
                 .gradient_factor = gradient_factor,
                 .step = step});
      window.Store();
    }
  }
}

std::vector<OptimizerState> AdamWUpdater::State() const {
  return {BufferState("exp_avg", exp_avg_, runs_, parameters_),
          BufferState("exp_avg_sq", exp_avg_sq_, runs_, parameters_)};
}

namespace {

class AdamW final : public Optimizer {
 public:
  AdamW(const v1::OptimizerConfig& config, ParameterSet& parameters)
      : updater_({.beta1 = config.betas(0), .beta2 = config.betas(1), .eps = config.eps()},
                 DecayRuns(parameters, config.weight_decay(), config.decay_norms(), EveryGroup),
                 parameters) {}

  void Step(absl::Span<const double> learning_rates, double gradient_factor,
            int64_t step) override {
    updater_.Step(learning_rates[0], gradient_factor, step);
  }
  std::vector<OptimizerState> State() override { return updater_.State(); }

 private:
  AdamWUpdater updater_;
};

}  // namespace

std::unique_ptr<Optimizer> MakeAdamW(const v1::OptimizerConfig& config, ParameterSet& parameters) {
  TRAINERD_CHECK(config.betas_size() == 2);  // by the rules of the job file
  return std::make_unique<AdamW>(config, parameters);
}

}  // namespace trainerd::engine
