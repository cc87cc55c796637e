// SPDX-License-Identifier: Apache-2.0
#include "engine/optim/optimizer.h"

#include <ATen/ops/zeros.h>

#include <utility>

namespace trainerd::engine {

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

std::vector<DecayRun> DecayRuns(const ParameterSet& parameters, double weight_decay,
                                bool decay_norms, bool (*covers)(ParameterGroup)) {
  std::vector<DecayRun> runs;
  int64_t size = 0;
  for (const ParameterSet::GroupRun& run : parameters.group_runs()) {
    if (!covers(run.group)) continue;
    const double decay = Decays(run.group, decay_norms) ? weight_decay : 0.0;
    const bool continues =
        !runs.empty() && runs.back().end == run.begin && runs.back().weight_decay == decay;
    if (continues) {
      runs.back().end = run.end;
    } else {
      runs.push_back({run.begin, run.end, decay, size});
    }
    size += run.end - run.begin;
  }
  return runs;
}

bool EveryGroup(ParameterGroup /*group*/) { return true; }

at::Tensor RunBuffer(const std::vector<DecayRun>& runs, const ParameterSet& parameters) {
  int64_t size = 0;
  for (const DecayRun& run : runs) size += run.end - run.begin;
  return at::zeros({size}, parameters.flat_master().options().dtype(at::kFloat));
}

OptimizerState BufferState(std::string name, const at::Tensor& buffer,
                           const std::vector<DecayRun>& runs, const ParameterSet& parameters) {
  OptimizerState state{.name = std::move(name)};
  for (const Parameter& parameter : parameters.parameters()) {
    at::Tensor tensor;
    for (const DecayRun& run : runs) {
      const bool holds =
          parameter.trains() && run.begin <= parameter.offset && parameter.offset < run.end;
      if (!holds) continue;
      tensor =
          buffer.narrow(0, run.state_begin + parameter.offset - run.begin, parameter.value.numel())
              .view(parameter.value.sizes());
    }
    state.tensors.push_back(std::move(tensor));
  }
  return state;
}

}  // namespace trainerd::engine
