// SPDX-License-Identifier: Apache-2.0
// The plugin's own kernels. nvcc's launch arrives with the name of the kernel and its arguments;
// the same source, compiled by g++ (tests/engine/ops/cuda/cuda_on_host.h), computes it.
#include "engine/ops/cuda/kernels.h"

#include <cstring>

#include "tests/fakes/cuda/compute/operators.h"
#include "tests/fakes/cuda/driver.h"

namespace trainerd::fakes::cuda {
namespace {

namespace kernels = ::trainerd::engine::cuda;

using Run = void (*)(void** arguments);

// Calls a launcher of kernels.h with the one argument of its kernel.
template <typename Argument, void (*kLaunch)(const Argument&, void*)>
void Launch(void** arguments) {
  kLaunch(*static_cast<const Argument*>(arguments[0]), /*stream=*/nullptr);
}

template <typename T>
constexpr Run kRmsNormForward =
    &Launch<kernels::RmsNormForwardArguments<T>, &kernels::LaunchRmsNormForward<T>>;

// The part of the demangled name that identifies a kernel, and what computes it. Each kernel of
// engine/ops/cuda needs an entry.
constexpr struct {
  const char* name;
  Run run;
} kKernels[] = {
    {"::RmsNormForward<float,", kRmsNormForward<float>},
    {"::RmsNormForward<trainerd::engine::cuda::BFloat,", kRmsNormForward<kernels::BFloat>},
};

bool Compute(const char* name, void** arguments) {
  for (const auto& kernel : kKernels) {
    if (std::strstr(name, kernel.name) == nullptr) continue;
    kernel.run(arguments);
    return true;
  }
  return false;
}

__attribute__((constructor)) void Install() {
  ReplaceOperators();
  fake_cuda_set_compute_kernel(&Compute);
}

}  // namespace
}  // namespace trainerd::fakes::cuda
