// SPDX-License-Identifier: Apache-2.0
// What the tests of muon and adamw_8bit share: the model of their goldens
// (tests/golden/optim/make_optimizer_goldens.py), updates with its made-up gradients, and training
// over its documents.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/model/decoder.h"
#include "engine/model/folder/freeze.h"
#include "engine/model/folder/optimizer_state.h"
#include "engine/model/stored_dtype.h"
#include "engine/optim/global_norm.h"
#include "engine/optim/lr_schedule.h"
#include "tests/engine/model/golden_model.h"
#include "tests/engine/optim/optimizers.h"

namespace trainerd::engine::testing {

inline at::Tensor GoldenTensor(const std::string& name, at::IntArrayRef sizes) {
  int64_t count = 1;
  for (const int64_t size : sizes) count *= size;
  std::vector<float> values = golden::Weights(name, count);
  return at::from_blob(values.data(), sizes, at::TensorOptions().dtype(at::kFloat)).clone();
}

struct GoldenModel {
  GoldenModel(const nlohmann::json& file, Precision precision,
              const std::vector<std::string>& freeze = {})
      : golden({{"config", file["model"]}, {"documents", file["documents"]}}),
        targets(file["targets"].get<double>()) {
    golden::WriteFolder(golden, folder.path());
    const ModelConfig config = golden::Config(golden);
    const FrozenNames frozen = *ResolveFreeze(config, freeze);
    parameters = *ParameterSet::Create(config, precision, TestDevice(), frozen);
    const absl::Status loaded = parameters->Load(**HfFolder::Open(folder.path()));
    EXPECT_TRUE(loaded.ok()) << loaded;
    decoder = std::make_unique<Decoder>(config, *parameters);
  }

  // The gradients of update `number`, counted from 0.
  void MakeGradients(int number, const std::function<at::Tensor(const at::Tensor&)>& change) {
    for (Parameter& parameter : parameters->parameters()) {
      if (!parameter.trains()) continue;
      const std::string name = parameter.name + ".grad" + std::to_string(number);
      parameter.grad.copy_(change(GoldenTensor(name, parameter.value.sizes())));
    }
  }

  // Mean loss over the documents; its gradients are in the parameters.
  double Backward(bool packed) {
    parameters->ZeroGrad();
    const std::vector<std::vector<size_t>> sequences =
        packed ? std::vector<std::vector<size_t>>{{0, 1, 2}}
               : std::vector<std::vector<size_t>>{{0}, {1}, {2}};
    double sum = 0;
    for (const std::vector<size_t>& documents : sequences) {
      const DeviceBatch batch = ToDevice(golden::Pack(golden, documents), TestDevice());
      sum += decoder->ForwardBackward(batch, 1.0 / targets).item<double>();
    }
    return sum / targets;
  }

  // One step of training with clipping; returns the loss before it.
  double Train(Optimizer& optimizer, absl::Span<const double> rates, int64_t step, bool packed,
               double* norm) {
    const double loss = Backward(packed);
    *norm = GlobalNorm(parameters->flat_grad()).item<double>();
    optimizer.Step(rates, std::min(1.0, 1.0 / (*norm + 1e-6)), step);
    return loss;
  }

  TempDir folder;
  nlohmann::json golden;
  double targets;
  std::unique_ptr<ParameterSet> parameters;
  std::unique_ptr<Decoder> decoder;
};

// Largest relative differences.
struct TrainingDifference {
  double loss = 0;
  double norm = 0;
};

// Trains as many steps as the run of the golden has.
inline TrainingDifference CompareTraining(const nlohmann::json& file, const nlohmann::json& run,
                                          const v1::OptimizerConfig& config, Precision precision,
                                          bool packed) {
  at::set_num_threads(1);  // more cost time on so small a model
  GoldenModel model(file, precision);
  const std::unique_ptr<Optimizer> optimizer = Build(config, *model.parameters);
  const auto losses = run["losses"].get<std::vector<double>>(),
             norms = run["grad_norms"].get<std::vector<double>>();
  EXPECT_EQ(losses.size(), 40u);
  EXPECT_LT(losses.back(), 0.8 * losses.front()) << "the reference does not learn";
  TrainingDifference worst;
  for (size_t i = 0; i < losses.size(); ++i) {
    double norm = 0;
    const double loss = model.Train(*optimizer, LearningRatePeaks(config),
                                    static_cast<int64_t>(i) + 1, packed, &norm);
    worst.loss = std::max(worst.loss, std::abs(loss - losses[i]) / losses[i]);
    worst.norm = std::max(worst.norm, std::abs(norm - norms[i]) / norms[i]);
  }
  return worst;
}

// Compares how far each parameter moved, and its first elements, as shares of the change.
inline void ExpectMoved(const ParameterSet& parameters, const nlohmann::json& tensors,
                        double tolerance, const std::string& what) {
  for (const Parameter& parameter : parameters.parameters()) {
    if (!parameter.trains()) continue;
    const nlohmann::json& expected = tensors[parameter.name];
    const double change = expected["change"];
    const at::Tensor before = GoldenTensor(parameter.name, parameter.value.sizes());
    const double moved =
        std::sqrt((parameter.master.cpu() - before).to(at::kDouble).square().sum().item<double>());
    EXPECT_NEAR(moved, change, tolerance * change) << what << " " << parameter.name;
    const double per_element = change / std::sqrt(static_cast<double>(parameter.value.numel()));
    const auto first = expected["first"].get<std::vector<double>>();
    for (size_t i = 0; i < first.size(); ++i) {
      EXPECT_NEAR(parameter.master.flatten()[static_cast<int64_t>(i)].item<double>(), first[i],
                  3 * tolerance * per_element + 2e-7)
          << what << " " << parameter.name << " element " << i;
    }
  }
}

// A run of 2 × `half` steps, and one that is saved after `half` and restored into a fresh model and
// optimizer: weights and state are equal bit for bit.
inline void ExpectExactResume(const nlohmann::json& file, const v1::OptimizerConfig& config,
                              Precision precision, const std::vector<std::string>& freeze = {}) {
  constexpr int64_t kHalf = 3;
  const auto train = [&](GoldenModel& model, Optimizer& optimizer, int64_t first, int64_t last) {
    double norm = 0;
    for (int64_t step = first; step <= last; ++step)
      model.Train(optimizer, LearningRatePeaks(config), step, /*packed=*/true, &norm);
  };
  GoldenModel straight(file, precision, freeze), begun(file, precision, freeze),
      resumed(file, precision, freeze);
  const auto straight_optimizer = Build(config, *straight.parameters),
             begun_optimizer = Build(config, *begun.parameters),
             resumed_optimizer = Build(config, *resumed.parameters);
  train(straight, *straight_optimizer, 1, 2 * kHalf);
  train(begun, *begun_optimizer, 1, kHalf);
  resumed.parameters->flat_master().copy_(begun.parameters->flat_master());
  resumed.parameters->PublishCompute();
  const std::vector<at::Tensor> from = StateTensors(*begun_optimizer),
                                to = StateTensors(*resumed_optimizer);
  ASSERT_EQ(from.size(), to.size());
  for (size_t i = 0; i < from.size(); ++i) to[i].copy_(from[i]);
  train(resumed, *resumed_optimizer, kHalf + 1, 2 * kHalf);
  EXPECT_TRUE(at::equal(resumed.parameters->flat_master(), straight.parameters->flat_master()));
  EXPECT_TRUE(at::equal(resumed.parameters->flat_value(), straight.parameters->flat_value()));
  EXPECT_TRUE(Equal(StateTensors(*resumed_optimizer), StateTensors(*straight_optimizer)));
}

// Optimizer::State holds what StatesOf says, in its dtypes and shapes, and nothing of a frozen
// parameter.
inline void ExpectStatesAsListed(const ParameterSet& parameters, Optimizer& optimizer,
                                 const v1::OptimizerConfig& config) {
  std::map<std::string, std::pair<at::ScalarType, std::vector<int64_t>>> expected, found;
  const auto all = parameters.parameters();
  for (size_t i = 0; i < all.size(); ++i) {
    for (const StoredState& state : StatesOf(config, all[i].group(), all[i].value.sizes().vec())) {
      if (all[i].trains())
        expected[all[i].name + "." + state.name] = {ScalarTypeOf(state.dtype), state.shape};
    }
    for (const OptimizerState& state : optimizer.State()) {
      const at::Tensor& tensor = state.tensors[i];
      if (tensor.defined())
        found[all[i].name + "." + state.name] = {tensor.scalar_type(), tensor.sizes().vec()};
    }
  }
  EXPECT_FALSE(expected.empty());
  EXPECT_EQ(found, expected);
}

}  // namespace trainerd::engine::testing
