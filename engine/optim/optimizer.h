// SPDX-License-Identifier: Apache-2.0
// What training, checkpoints and resume know of an optimizer: one update, and its state as named
// tensors. Start here to add an optimizer: write NAME.cc beside adamw.cc, and add it to factory.cc
// and to OptimizerConfig.type.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "engine/model/parameters.h"

namespace trainerd::engine {

// One kind of state, for example the first moment.
struct OptimizerState {
  // A checkpoint stores the tensor of parameter P as P.NAME.
  std::string name;
  // fp32, one tensor per parameter in the order of ParameterSet::parameters(), of the parameter's
  // number of elements; undefined where a parameter has no such state. The tensors are the state
  // itself: restoring copies into them.
  std::vector<at::Tensor> tensors;
};

// Not thread-safe.
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // Applies update number `step` (from 1) to the parameters that train, with
  // gradient × gradient_factor (the clip factor). Publishes the compute copy.
  virtual void Step(double learning_rate, double gradient_factor, int64_t step) = 0;

  // All state that the next Step depends on, besides masters and gradients. Empty if there is none.
  virtual std::vector<OptimizerState> State() = 0;
};

// The state `name` in a flat buffer that is laid out like ParameterSet::flat_master.
OptimizerState FlatState(std::string name, const at::Tensor& flat, const ParameterSet& parameters);

// Elements [begin, end) of the flat buffers that are updated with the same weight decay.
struct DecayRun {
  int64_t begin;
  int64_t end;
  double weight_decay;
};
// The rule of AdamW and SGD: matrices, embeddings and heads decay; norms and biases only with
// `decay_norms`. Covers the flat buffer in order.
std::vector<DecayRun> DecayRuns(const ParameterSet& parameters, double weight_decay,
                                bool decay_norms);

}  // namespace trainerd::engine
