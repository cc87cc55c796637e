// SPDX-License-Identifier: Apache-2.0
// The plugin's own kernels. nvcc's launch arrives with the name of the kernel, the grid and the
// arguments; the same source, compiled by g++ (tests/engine/ops/cuda/cuda_on_host.h), computes it.
#include "tests/engine/ops/cuda/kernel_registry.h"
#include "tests/fakes/cuda/compute/operators.h"
#include "tests/fakes/cuda/driver.h"

namespace trainerd::fakes::cuda {
namespace {

bool Compute(const std::string& name, unsigned blocks, unsigned threads, void** arguments) {
  const cuda_on_host::KernelFunction kernel = cuda_on_host::FindKernel(name);
  if (kernel == nullptr) return false;
  kernel(blocks, static_cast<int>(threads), arguments);
  return true;
}

__attribute__((constructor)) void Install() {
  ReplaceOperators();
  fake_cuda_set_compute_kernel(&Compute);
}

}  // namespace
}  // namespace trainerd::fakes::cuda
