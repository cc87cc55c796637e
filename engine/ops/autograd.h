// SPDX-License-Identifier: Apache-2.0
// Puts an op with a hand-written backward into LibTorch's autograd graph: one function instead of
// one class an op. Rules that the ops keep and the decoder relies on: each tensor of the graph has
// one consumer, so a backward may overwrite the gradient it is given; gradients of weights are
// added to the main gradients in place and do not pass through the graph.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace trainerd::engine {

// Gradients of the outputs (undefined = 0) → gradients of the inputs, in order.
using BackwardFunction = std::function<std::vector<at::Tensor>(std::vector<at::Tensor>& gradients)>;

// Makes a tensor again, bit for bit, from tensors that are kept anyway: what is cheap to compute
// need not be kept until the backward.
using Recompute = std::function<at::Tensor()>;

// True where a backward must be recorded (gradient mode is on).
bool IsRecording();

// Makes `outputs` (fresh tensors without history) depend on `inputs` through `backward`. What the
// function captures is freed as soon as it has run; capture Detached(tensor), not the tensor: an
// output that its own node holds would never be freed.
void RecordBackward(const char* name, at::ArrayRef<at::Tensor> inputs,
                    at::ArrayRef<at::Tensor> outputs, BackwardFunction backward);

// The same storage without history.
at::Tensor Detached(const at::Tensor& tensor);

}  // namespace trainerd::engine
