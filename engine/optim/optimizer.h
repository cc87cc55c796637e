// SPDX-License-Identifier: Apache-2.0
// What training, checkpoints and resume know of an optimizer: one update, and its state as named
// tensors. Start here to add an optimizer: write NAME.cc beside adamw.cc, and add it to factory.cc,
// to OptimizerConfig.type and to the two switches over it that then do not compile (StatesOf,
// OptimizerStates).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "engine/model/parameters.h"

namespace trainerd::engine {

// One kind of state, for example the first moment.
struct OptimizerState {
  // A checkpoint stores the tensor of parameter P as P.NAME.
  std::string name;
  // One tensor per parameter in the order of ParameterSet::parameters(), in the dtype and shape of
  // StatesOf (engine/model/folder/optimizer_state.h); undefined where a parameter has no such
  // state. The tensors are the state itself: restoring copies into them.
  std::vector<at::Tensor> tensors;
};

// Not thread-safe.
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  // Applies update number `step` (from 1) to the parameters that train, with
  // gradient × gradient_factor (the clip factor). `learning_rates` are those of LearningRates
  // (lr_schedule.h). Publishes the compute copy.
  virtual void Step(absl::Span<const double> learning_rates, double gradient_factor,
                    int64_t step) = 0;

  // All state that the next Step depends on, besides masters and gradients. Empty if there is none.
  virtual std::vector<OptimizerState> State() = 0;
};

// The rule of AdamW and SGD: matrices, embeddings and heads decay; norms and biases only with
// `decay_norms`.
bool Decays(ParameterGroup group, bool decay_norms);

// Elements [begin, end) of the flat buffers that are updated with the same weight decay.
struct DecayRun {
  int64_t begin;
  int64_t end;
  double weight_decay;
  // First element in a buffer that holds the runs one after the other.
  int64_t state_begin;
};
// The runs of the groups for which `covers` is true, in buffer order.
std::vector<DecayRun> DecayRuns(const ParameterSet& parameters, double weight_decay,
                                bool decay_norms, bool (*covers)(ParameterGroup));
bool EveryGroup(ParameterGroup group);

// fp32 zeros for all elements of the runs, one run after the other.
at::Tensor RunBuffer(const std::vector<DecayRun>& runs, const ParameterSet& parameters);

// The state `name` in a RunBuffer.
OptimizerState BufferState(std::string name, const at::Tensor& buffer,
                           const std::vector<DecayRun>& runs, const ParameterSet& parameters);

}  // namespace trainerd::engine
