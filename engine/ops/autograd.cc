// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/autograd.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>
#include <string>
#include <utility>

#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

class RecordedNode final : public torch::autograd::Node {
 public:
  RecordedNode(const char* name, BackwardFunction backward, torch::autograd::edge_list&& next_edges)
      : Node(std::move(next_edges)), name_(name), backward_(std::move(backward)) {}

  std::string name() const override { return name_; }
  void release_variables() override { backward_ = nullptr; }

 private:
  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    // Moved out, so that the saved tensors are freed when this call returns, not with the graph.
    BackwardFunction backward = std::exchange(backward_, nullptr);
    TRAINERD_CHECK(backward != nullptr);
    return backward(gradients);
  }

  const char* name_;
  BackwardFunction backward_;
};

// The state that a checkpointed region keeps between forward and backward.
class CheckpointedRegion {
 public:
  CheckpointedRegion(const std::vector<Recomputable>& inputs, Region region)
      : region_(std::move(region)) {
    for (const Recomputable& input : inputs) {
      inputs_.push_back({.kept = input.recompute ? at::Tensor() : Detached(input.tensor),
                         .recompute = input.recompute,
                         .requires_grad = input.tensor.requires_grad()});
    }
  }

  // Outputs with the history of the region alone: it ends at the inputs.
  std::vector<at::Tensor> Run(const std::vector<at::Tensor>& inputs) {
    std::vector<at::Tensor> leaves;
    for (size_t i = 0; i < inputs.size(); ++i) {
      leaves.push_back(Detached(inputs[i]));
      if (!inputs_[i].requires_grad) continue;
      RecordBackward("RegionInput", {}, {leaves.back()},
                     [input = &inputs_[i]](std::vector<at::Tensor>& gradients) {
                       input->gradient = std::move(gradients[0]);
                       return std::vector<at::Tensor>{};
                     });
    }
    const at::AutoGradMode recording(true);
    return region_(leaves);
  }

  // Output `index` without history. The second run serves all later calls and the backward.
  at::Tensor Output(size_t index) {
    RunAgain();
    return Detached(outputs_[index]);
  }

  // Gradients of the outputs `recorded` → gradients of the inputs.
  std::vector<at::Tensor> Backward(const std::vector<size_t>& recorded,
                                   std::vector<at::Tensor>& gradients) {
    RunAgain();
    torch::autograd::edge_list roots;
    torch::autograd::variable_list root_gradients;
    for (size_t i = 0; i < recorded.size(); ++i) {
      if (!gradients[i].defined()) continue;
      roots.push_back(torch::autograd::impl::gradient_edge(outputs_[recorded[i]]));
      root_gradients.push_back(std::move(gradients[i]));
    }
    outputs_.clear();
    if (!roots.empty()) {
      torch::autograd::Engine::get_default_engine().execute(
          roots, root_gradients, /*keep_graph=*/false, /*create_graph=*/false,
          /*accumulate_grad=*/true);
    }
    std::vector<at::Tensor> result;
    for (Input& input : inputs_) result.push_back(std::move(input.gradient));
    return result;
  }

 private:
  struct Input {
    at::Tensor kept;
    Recompute recompute;
    bool requires_grad = false;
    at::Tensor gradient;
  };

  void RunAgain() {
    if (!outputs_.empty()) return;
    std::vector<at::Tensor> tensors;
    for (const Input& input : inputs_)
      tensors.push_back(input.recompute ? input.recompute() : input.kept);
    outputs_ = Run(tensors);
  }

  Region region_;
  std::vector<Input> inputs_;
  std::vector<at::Tensor> outputs_;  // of the second run
};

}  // namespace

bool IsRecording() { return at::GradMode::is_enabled(); }

at::Tensor Detached(const at::Tensor& tensor) {
  if (!tensor.defined()) return tensor;
  at::NoGradGuard no_grad;
  return tensor.detach();
}

void RecordBackward(const char* name, at::ArrayRef<at::Tensor> inputs,
                    at::ArrayRef<at::Tensor> outputs, BackwardFunction backward) {
  torch::autograd::edge_list edges;
  edges.reserve(inputs.size());
  for (const at::Tensor& input : inputs) {
    edges.push_back(input.defined() ? torch::autograd::impl::gradient_edge(input)
                                    : torch::autograd::Edge());
  }
  auto node = std::shared_ptr<RecordedNode>(
      new RecordedNode(name, std::move(backward), std::move(edges)), torch::autograd::deleteNode);
  for (const at::Tensor& output : outputs) torch::autograd::set_history(output, node);
}

std::vector<Recomputable> Checkpoint(const char* name, const std::vector<Recomputable>& inputs,
                                     Region region) {
  const auto state = std::make_shared<CheckpointedRegion>(inputs, std::move(region));
  std::vector<at::Tensor> tensors;
  for (const Recomputable& input : inputs) tensors.push_back(input.tensor);
  std::vector<Recomputable> result;
  std::vector<size_t> recorded;
  std::vector<at::Tensor> recorded_outputs;
  const std::vector<at::Tensor> outputs = state->Run(tensors);
  for (size_t i = 0; i < outputs.size(); ++i) {
    result.push_back({Detached(outputs[i]), nullptr});
    if (!outputs[i].requires_grad()) continue;
    result.back().recompute = [state, i] { return state->Output(i); };
    recorded.push_back(i);
    recorded_outputs.push_back(result.back().tensor);
  }
  if (recorded.empty()) return result;
  RecordBackward(name, tensors, recorded_outputs,
                 [state, recorded](std::vector<at::Tensor>& gradients) {
                   return state->Backward(recorded, gradients);
                 });
  return result;
}

}  // namespace trainerd::engine
