// SPDX-License-Identifier: Apache-2.0
// Stochastic gradient descent with momentum over the flat parameter buffer, the same update as
// torch.optim.SGD without dampening. A momentum buffer of 0 equals the missing one of torch's first
// step. Source: Sutskever et al., "On the importance of initialization and momentum in deep
// learning" (2013), in torch's formulation.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <memory>

#include "engine/optim/optimizer.h"
#include "engine/optim/weight_window.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {
namespace {

class Sgd final : public Optimizer {
 public:
  Sgd(const v1::OptimizerConfig& config, ParameterSet& parameters)
      : parameters_(parameters),
        momentum_(config.momentum()),
        nesterov_(config.nesterov()),
        runs_(DecayRuns(parameters, config.weight_decay(), config.decay_norms(), EveryGroup)) {
    if (momentum_ > 0) momentum_buffer_ = RunBuffer(runs_, parameters);
  }

  void Step(absl::Span<const double> learning_rates, double gradient_factor,
            int64_t /*step*/) override {
    const at::NoGradGuard no_grad;
    for (const DecayRun& run : runs_) {
      for (int64_t begin = run.begin; begin < run.end; begin += kWindowElements) {
        const WeightWindow window(parameters_, begin, std::min(kWindowElements, run.end - begin));
        Update(window, begin, run.weight_decay, learning_rates[0], gradient_factor);
        window.Store();
      }
    }
    parameters_.PublishCompute();
  }

  std::vector<OptimizerState> State() override {
    if (!momentum_buffer_.defined()) return {};
    return {BufferState("momentum_buffer", momentum_buffer_, runs_, parameters_)};
  }

 private:
  // The temporary tensors are a few times as large as the window.
  void Update(const WeightWindow& window, int64_t begin, double weight_decay, double learning_rate,
              double gradient_factor) {
    at::Tensor master = window.master(), update = window.grad() * gradient_factor;
    if (weight_decay != 0) update.add_(master, weight_decay);
    if (momentum_buffer_.defined()) {
      at::Tensor buffer = momentum_buffer_.narrow(0, begin, master.numel());
      buffer.mul_(momentum_).add_(update);
      update = nesterov_ ? update.add_(buffer, momentum_) : buffer;
    }
    master.add_(update, -learning_rate);
  }

  ParameterSet& parameters_;
  const double momentum_;
  const bool nesterov_;
  const std::vector<DecayRun> runs_;
  at::Tensor momentum_buffer_;  // laid out as ParameterSet::flat_master; undefined without momentum
};

}  // namespace

std::unique_ptr<Optimizer> MakeSgd(const v1::OptimizerConfig& config, ParameterSet& parameters) {
  return std::make_unique<Sgd>(config, parameters);
}

}  // namespace trainerd::engine
