// SPDX-License-Identifier: Apache-2.0
// AdamW whose moments are kept in 8 bits with a scale per block of 256 elements, as AdamW8bit of
// bitsandbytes. Tensors below kLeastQuantizedSize elements keep fp32 moments. Blocks do not cross
// tensors. Source: Dettmers et al., "8-bit Optimizers via Block-wise Quantization" (2022).
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "engine/model/folder/optimizer_state.h"
#include "engine/model/stored_dtype.h"
#include "engine/ops/op_table.h"
#include "engine/optim/optimizer.h"
#include "engine/optim/weight_window.h"
#include "proto/base/status_macros.h"
#include "trainerd/v1/job_config.pb.h"

namespace trainerd::engine {
namespace {

static_assert(kMomentBlock == kQuantizedBlock && kWindowElements % kMomentBlock == 0);

// The parameter and its states by name, as StatesOf lists them.
struct Trained {
  Parameter* parameter = nullptr;
  double weight_decay = 0.0;
  std::map<std::string, at::Tensor> states;
};

class AdamW8bit final : public Optimizer {
 public:
  AdamW8bit(const v1::OptimizerConfig& config, ParameterSet& parameters)
      : parameters_(parameters),
        beta1_(config.betas(0)),
        beta2_(config.betas(1)),
        eps_(config.eps()),
        first_(MakeDynamicCode(/*is_signed=*/true, parameters.device())),
        second_(MakeDynamicCode(/*is_signed=*/false, parameters.device())) {
    for (Parameter& parameter : parameters.parameters()) {
      Trained trained;
      if (parameter.trains()) {
        trained.parameter = &parameter;
        trained.weight_decay =
            Decays(parameter.group(), config.decay_norms()) ? config.weight_decay() : 0.0;
        const auto options = parameter.value.options();
        for (const StoredState& state :
             StatesOf(config, parameter.group(), parameter.value.sizes().vec())) {
          trained.states[state.name] =
              at::zeros(state.shape, options.dtype(ScalarTypeOf(state.dtype)));
        }
      }
      trained_.push_back(std::move(trained));
    }
  }

  void Step(absl::Span<const double> learning_rates, double gradient_factor,
            int64_t step) override {
    const at::NoGradGuard no_grad;
    for (const Trained& trained : trained_) {
      if (trained.parameter == nullptr) continue;
      Update(trained, {.learning_rate = learning_rates[0],
                       .beta1 = beta1_,
                       .beta2 = beta2_,
                       .eps = eps_,
                       .weight_decay = trained.weight_decay,
                       .gradient_factor = gradient_factor,
                       .step = step});
    }
  }

  std::vector<OptimizerState> State() override {
    std::map<std::string, OptimizerState> by_name;
    for (size_t i = 0; i < trained_.size(); ++i) {
      for (const auto& [name, tensor] : trained_[i].states) {
        OptimizerState& state = by_name[name];
        state.name = name;
        state.tensors.resize(trained_.size());
        state.tensors[i] = tensor;
      }
    }
    std::vector<OptimizerState> states;
    for (auto& [name, state] : by_name) states.push_back(std::move(state));
    return states;
  }

 private:
  void Update(const Trained& trained, const AdamWUpdate& update) const {
    const int64_t size = trained.parameter->value.numel();
    for (int64_t begin = 0; begin < size; begin += kWindowElements)
      UpdatePart(trained, begin, std::min(kWindowElements, size - begin), update);
  }

  // Elements [begin, begin + size) of the parameter; begin is a multiple of kMomentBlock.
  void UpdatePart(const Trained& trained, int64_t begin, int64_t size,
                  const AdamWUpdate& update) const {
    const OpTable& ops = OpsFor(parameters_.device());
    const auto part = [&](const char* name) {
      return trained.states.at(name).view({-1}).narrow(0, begin, size);
    };
    const auto blocks = [&](const char* name) {
      return trained.states.at(name).narrow(0, begin / kMomentBlock,
                                            (size + kMomentBlock - 1) / kMomentBlock);
    };
    const WeightWindow window(parameters_, trained.parameter->offset + begin, size);
    if (trained.states.count("exp_avg") > 0) {
      ops.adamw(window.master(), window.grad(), part("exp_avg"), part("exp_avg_sq"), window.value(),
                update);
    } else {
      ops.adamw_8bit(
          window.master(), window.grad(), {part("exp_avg_8bit"), blocks("exp_avg_absmax"), &first_},
          {part("exp_avg_sq_8bit"), blocks("exp_avg_sq_absmax"), &second_}, window.value(), update);
    }
    window.Store();
  }

  ParameterSet& parameters_;
  const double beta1_, beta2_, eps_;
  const DynamicCode first_, second_;
  // As ParameterSet::parameters(); frozen ones are empty.
  std::vector<Trained> trained_;
};

}  // namespace

std::unique_ptr<Optimizer> MakeAdamW8bit(const v1::OptimizerConfig& config,
                                         ParameterSet& parameters) {
  TRAINERD_CHECK(config.betas_size() == 2);  // by the rules of the job file
  return std::make_unique<AdamW8bit>(config, parameters);
}

}  // namespace trainerd::engine
