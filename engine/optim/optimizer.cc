// SPDX-License-Identifier: Apache-2.0
#include "engine/optim/optimizer.h"

#include <utility>

namespace trainerd::engine {
namespace {

bool Decays(ParameterGroup group, bool decay_norms) {
  switch (group) {
    case ParameterGroup::kMatrix:
    case ParameterGroup::kEmbedding:
    case ParameterGroup::kHead:
      return true;
    case ParameterGroup::kNorm:
    case ParameterGroup::kBias:
      return decay_norms;
  }
  return false;
}

}  // namespace

OptimizerState FlatState(std::string name, const at::Tensor& flat, const ParameterSet& parameters) {
  OptimizerState state{.name = std::move(name)};
  for (const Parameter& parameter : parameters.parameters()) {
    state.tensors.push_back(parameter.trains()
                                ? flat.narrow(0, parameter.offset, parameter.value.numel())
                                : at::Tensor());
  }
  return state;
}

std::vector<DecayRun> DecayRuns(const ParameterSet& parameters, double weight_decay,
                                bool decay_norms) {
  std::vector<DecayRun> runs;
  for (const ParameterSet::GroupRun& run : parameters.group_runs()) {
    const double decay = Decays(run.group, decay_norms) ? weight_decay : 0.0;
    if (runs.empty() || runs.back().weight_decay != decay) {
      runs.push_back({run.begin, run.end, decay});
    } else {
      runs.back().end = run.end;
    }
  }
  return runs;
}

}  // namespace trainerd::engine
