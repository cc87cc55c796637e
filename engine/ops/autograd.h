// SPDX-License-Identifier: Apache-2.0
// Records an op with a hand-written backward in LibTorch's autograd graph: one function instead of
// one class per op. The decoder relies on these rules:
// - Each tensor of the graph has one consumer, so a backward may overwrite the gradient it
//   receives.
// - Gradients of weights are added to the main gradients in place; they do not pass through the
//   graph.
// - An op records a backward only if an input requires a gradient or one of its weights trains (its
//   main gradient is defined). So the backward pass stops at the lowest layer that trains.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace trainerd::engine {

// Gradients of the outputs (undefined = 0) → gradients of the inputs, in order.
using BackwardFunction = std::function<std::vector<at::Tensor>(std::vector<at::Tensor>& gradients)>;

// Recomputes a tensor bit for bit from tensors that are kept anyway: what is cheap to compute need
// not be kept until the backward.
using Recompute = std::function<at::Tensor()>;

// True in gradient mode; without it no op records a backward.
bool IsRecording();

// Makes `outputs` (fresh tensors without history) depend on `inputs` through `backward`. A gradient
// that the function returns for an input that requires none is dropped. What the function captures
// is freed as soon as it has run. Capture Detached(tensor), not the tensor: an output that its own
// node holds would never be freed.
void RecordBackward(const char* name, at::ArrayRef<at::Tensor> inputs,
                    at::ArrayRef<at::Tensor> outputs, BackwardFunction backward);

// The same storage without history.
at::Tensor Detached(const at::Tensor& tensor);

// A tensor, and how to compute it again; without `recompute` it can only be kept.
struct Recomputable {
  at::Tensor tensor;
  Recompute recompute;
};

// Ops from inputs to outputs, all fresh tensors. Calls with the same inputs give the same bits.
using Region = std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>& inputs)>;

// Runs `region` and keeps nothing of what its ops save. The backward runs it again, once, and then
// the backwards of its ops. Keeps the inputs that cannot be recomputed. Memory: the region is
// recorded in both runs, so its tensors exist until the run ends. Outputs that require no gradient
// have no `recompute`.
std::vector<Recomputable> Checkpoint(const char* name, const std::vector<Recomputable>& inputs,
                                     Region region);

}  // namespace trainerd::engine
