// SPDX-License-Identifier: Apache-2.0
// What the files of the fake libcudart share.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

namespace trainerd::fakes::cuda {

// Keeps the error for cudaGetLastError and returns it.
cudaError_t Failed(cudaError_t error);

// The driver's function for memory with this name; null if the fake has none.
void* MemoryFunction(const std::string& name);

// Computes a launch of one of the plugin's kernels. `name` is its demangled name; `arguments` are
// those of cudaLaunchKernel. Returns whether it knew the kernel.
using ComputeKernel = bool (*)(const std::string& name, unsigned blocks, unsigned threads,
                               void** arguments);

}  // namespace trainerd::fakes::cuda

extern "C" {

// Called by the part that computes (compute/), when it is loaded.
void fake_cuda_set_compute_kernel(trainerd::fakes::cuda::ComputeKernel compute);

}  // extern "C"
