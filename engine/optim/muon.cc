// SPDX-License-Identifier: Apache-2.0
// Muon for the matrices of the blocks, the same update as torch.optim.Muon; AdamW for embedding,
// head, norms and biases. Source: K. Jordan, "Muon: An optimizer for hidden layers in neural
// networks" (2024); adjust_learning_rate: match_rms_adamw: Liu et al., "Muon is scalable for LLM
// training" (2025).
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/baddbmm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <utility>

#include "engine/ops/op_table.h"
#include "engine/optim/adamw.h"
#include "engine/optim/weight_window.h"
#include "proto/base/enum_sentinels.h"
#include "proto/base/status_macros.h"
#include "trainerd/v1/job_config.pb.h"

#pragma GCC diagnostic error "-Wswitch"

namespace trainerd::engine {
namespace {

using Config = v1::OptimizerConfig;

// Elements of the matrices that are updated together (one matrix may have more). Bounds the
// temporary tensors to about 6 times 16 MiB.
constexpr int64_t kPieceElements = int64_t{1} << 22;

// The quintic iteration X ← aX + (bA + cA²)X with A = XXᵀ, and the least norm that X is divided by.
constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315;
constexpr double kLeastNorm = 1e-7;

bool IsNoMatrix(ParameterGroup group) { return group != ParameterGroup::kMatrix; }

at::ScalarType DtypeOf(Config::NewtonSchulzPrecision precision) {
  switch (precision) {
    case Config::NEWTON_SCHULZ_PRECISION_BF16:
      return at::kBFloat16;
    case Config::NEWTON_SCHULZ_PRECISION_FP32:
      return at::kFloat;
    case Config::NEWTON_SCHULZ_PRECISION_UNSPECIFIED:
    case kMinSentinel<Config::NewtonSchulzPrecision>:
    case kMaxSentinel<Config::NewtonSchulzPrecision>:
      break;
  }
  TRAINERD_CHECK(false);
}

// Factor on the learning rate of a matrix.
double Adjustment(Config::AdjustLearningRate convention, int64_t rows, int64_t columns) {
  const auto m = static_cast<double>(rows), n = static_cast<double>(columns);
  switch (convention) {
    case Config::ADJUST_LEARNING_RATE_ORIGINAL:
      return std::sqrt(std::max(1.0, m / n));
    case Config::ADJUST_LEARNING_RATE_MATCH_RMS_ADAMW:
      return 0.2 * std::sqrt(std::max(m, n));
    case Config::ADJUST_LEARNING_RATE_UNSPECIFIED:
    case kMinSentinel<Config::AdjustLearningRate>:
    case kMaxSentinel<Config::AdjustLearningRate>:
      break;
  }
  TRAINERD_CHECK(false);
}

// Frobenius norms [B, 1, 1] in the dtype of x; the same bits for any number of threads.
at::Tensor Norms(const at::Tensor& x_BMN) {
  const OpTable& ops = OpsFor(x_BMN.device());
  std::vector<at::Tensor> norms;
  for (int64_t i = 0; i < x_BMN.size(0); ++i)
    norms.push_back(ops.sum_of_squares(x_BMN[i].to(at::kFloat).reshape({-1})).sqrt());
  return at::stack(norms).to(x_BMN.scalar_type()).view({-1, 1, 1});
}

// Newton–Schulz: nearly UVᵀ for each matrix USVᵀ. Computes with the short side first.
at::Tensor Orthogonalized(const at::Tensor& update_BMN, int64_t steps) {
  const bool is_tall = update_BMN.size(1) > update_BMN.size(2);
  const at::Tensor wide = is_tall ? update_BMN.transpose(1, 2) : update_BMN;
  at::Tensor x = wide.contiguous() / Norms(update_BMN).clamp_min(kLeastNorm);
  for (int64_t i = 0; i < steps; ++i) {
    const at::Tensor gram = at::bmm(x, x.transpose(1, 2));
    x = at::baddbmm(x, at::baddbmm(gram, gram, gram, kB, kC), x, kA, 1.0);
  }
  return is_tall ? x.transpose(1, 2) : x;
}

// The matrices of one shape.
struct Batch {
  std::vector<Parameter*> parameters;
  // Of all parameters, in ParameterSet::parameters().
  std::vector<size_t> indexes;
  at::Tensor momentum_BMN;  // fp32; undefined without momentum
};

std::vector<Batch> BatchesOf(ParameterSet& parameters, bool has_momentum) {
  std::map<std::vector<int64_t>, Batch> by_shape;
  for (size_t i = 0; i < parameters.parameters().size(); ++i) {
    Parameter& parameter = parameters.parameters()[i];
    if (!parameter.trains() || IsNoMatrix(parameter.group())) continue;
    Batch& batch = by_shape[parameter.value.sizes().vec()];
    batch.parameters.push_back(&parameter);
    batch.indexes.push_back(i);
  }
  std::vector<Batch> batches;
  for (auto& [shape, batch] : by_shape) {
    if (has_momentum) {
      const auto count = static_cast<int64_t>(batch.parameters.size());
      batch.momentum_BMN = at::zeros({count, shape[0], shape[1]},
                                     parameters.flat_master().options().dtype(at::kFloat));
    }
    batches.push_back(std::move(batch));
  }
  return batches;
}

class Muon final : public Optimizer {
 public:
  Muon(const Config& config, ParameterSet& parameters)
      : parameters_(parameters),
        momentum_(config.momentum()),
        nesterov_(config.nesterov()),
        weight_decay_(config.weight_decay()),
        steps_(config.newton_schulz_steps()),
        dtype_(DtypeOf(config.newton_schulz_precision())),
        convention_(config.adjust_learning_rate()),
        batches_(BatchesOf(parameters, config.momentum() > 0)),
        adamw_(
            {.beta1 = config.adamw().betas(0),
             .beta2 = config.adamw().betas(1),
             .eps = config.adamw().eps()},
            DecayRuns(parameters, config.adamw().weight_decay(), config.decay_norms(), IsNoMatrix),
            parameters) {}

  void Step(absl::Span<const double> learning_rates, double gradient_factor,
            int64_t step) override {
    const at::NoGradGuard no_grad;
    for (Batch& batch : batches_) {
      const auto count = static_cast<int64_t>(batch.parameters.size());
      const int64_t piece =
          std::max<int64_t>(1, kPieceElements / batch.parameters[0]->master.numel());
      for (int64_t begin = 0; begin < count; begin += piece)
        Update(batch, begin, std::min(piece, count - begin), learning_rates[0], gradient_factor);
    }
    adamw_.Step(learning_rates[1], gradient_factor, step);
  }

  std::vector<OptimizerState> State() override {
    std::vector<OptimizerState> states = adamw_.State();
    if (momentum_ == 0) return states;
    OptimizerState momentum{.name = "momentum_buffer",
                            .tensors{parameters_.parameters().size(), at::Tensor()}};
    for (const Batch& batch : batches_) {
      for (size_t i = 0; i < batch.indexes.size(); ++i)
        momentum.tensors[batch.indexes[i]] = batch.momentum_BMN[static_cast<int64_t>(i)];
    }
    states.insert(states.begin(), std::move(momentum));
    return states;
  }

 private:
  // Matrices [begin, begin + count) of the batch.
  void Update(Batch& batch, int64_t begin, int64_t count, double learning_rate,
              double gradient_factor) {
    std::vector<at::Tensor> grads;
    for (int64_t i = begin; i < begin + count; ++i)
      grads.push_back(batch.parameters[static_cast<size_t>(i)]->grad);
    at::Tensor update = at::stack(grads).to(at::kFloat).mul_(gradient_factor);
    if (momentum_ > 0) {
      at::Tensor buffer = batch.momentum_BMN.narrow(0, begin, count);
      buffer.lerp_(update, 1.0 - momentum_);
      update = nesterov_ ? update.lerp_(buffer, momentum_) : buffer;
    }
    const at::Tensor direction = Orthogonalized(update.to(dtype_), steps_);
    const at::Tensor& first = batch.parameters[0]->master;
    const double adjusted = learning_rate * Adjustment(convention_, first.size(0), first.size(1));
    for (int64_t i = 0; i < count; ++i) {
      const Parameter& parameter = *batch.parameters[static_cast<size_t>(begin + i)];
      const WeightWindow window(parameters_, parameter.offset, parameter.value.numel());
      at::Tensor master = window.master().view(parameter.value.sizes());
      master.mul_(1.0 - learning_rate * weight_decay_).add_(direction[i], -adjusted);
      if (window.value().defined()) window.value().copy_(window.master());
      window.Store();
    }
  }

  ParameterSet& parameters_;
  const double momentum_;
  const bool nesterov_;
  const double weight_decay_;
  const int64_t steps_;
  const at::ScalarType dtype_;
  const Config::AdjustLearningRate convention_;
  std::vector<Batch> batches_;
  AdamWUpdater adamw_;
};

}  // namespace

std::unique_ptr<Optimizer> MakeMuon(const Config& config, ParameterSet& parameters) {
  TRAINERD_CHECK(config.adamw().betas_size() == 2);  // by the rules of the job file
  return std::make_unique<Muon>(config, parameters);
}

}  // namespace trainerd::engine
