// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/autograd.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

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

}  // namespace trainerd::engine
