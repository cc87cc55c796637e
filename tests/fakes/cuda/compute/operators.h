// SPDX-License-Identifier: Apache-2.0
// The part that computes: libfake_cuda_compute.so, which the fake libcudart loads once LibTorch's
// CUDA operators are registered.
#pragma once

#include <ATen/core/Tensor.h>

namespace trainerd::fakes::cuda {

// The same memory as a tensor on the CPU. Tensors that are there already, and undefined ones, are
// returned.
at::Tensor OnHost(const at::Tensor& x);
// A copy on the device.
at::Tensor OnDevice(const at::Tensor& x, at::Device device);

// Replaces ATen's CUDA operators. Call once.
void ReplaceOperators();

}  // namespace trainerd::fakes::cuda
