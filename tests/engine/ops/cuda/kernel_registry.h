// SPDX-License-Identifier: Apache-2.0
// The kernels that were compiled for the host (cuda_on_host.h), by the name that nvcc gives them.
// Each launch of one in a .cu file registers it, so a new kernel needs no line elsewhere.
#pragma once

#include <cstdint>
#include <string>
#include <typeinfo>

namespace trainerd::cuda_on_host {

// Runs a kernel with the arguments of cudaLaunchKernel.
using KernelFunction = void (*)(int64_t blocks, int threads, void** arguments);
// The kernel with the demangled name that nvcc gives it, parameters included; null if no .cu file
// launches one. Kernels register themselves before main, or when their library is loaded.
KernelFunction FindKernel(const std::string& name);

// Names a kernel as a type.
template <auto kKernel>
struct KernelName {};
// Registers a kernel; `name` is its KernelName. Ends the process if another has the same name.
bool RegisterKernel(const std::type_info& name, KernelFunction function);

}  // namespace trainerd::cuda_on_host
