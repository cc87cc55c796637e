// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/ops/cuda/kernel_registry.h"

#include <cxxabi.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string_view>

namespace trainerd::cuda_on_host {
namespace {

[[noreturn]] void Die(const char* what, const char* name) {
  std::fprintf(stderr, "kernel_registry: %s: %s\n", what, name);
  std::abort();
}

// By the name without parameters where the compiler omits them (kernels that are no templates).
std::map<std::string, KernelFunction>& Kernels() {
  static auto* kernels = new std::map<std::string, KernelFunction>;
  return *kernels;
}

// The kernel's name in that of a KernelName: "…KernelName<&(NAME)>" of a template, "…<&NAME>" else.
std::string NameIn(const std::type_info& type) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> demangled(
      abi::__cxa_demangle(type.name(), nullptr, nullptr, &status), &std::free);
  if (status != 0) Die("the name cannot be demangled", type.name());
  std::string_view name = demangled.get();
  name.remove_prefix(name.find("<&") + 2);
  name.remove_suffix(1);
  if (name.front() == '(' && name.back() == ')') name = name.substr(1, name.size() - 2);
  return std::string(name);
}

}  // namespace

KernelFunction FindKernel(const std::string& name) {
  for (const auto& [kernel, function] : Kernels()) {
    if (name == kernel || name.substr(0, kernel.size() + 1) == kernel + "(") return function;
  }
  return nullptr;
}

bool RegisterKernel(const std::type_info& name, KernelFunction function) {
  const std::string kernel = NameIn(name);
  if (!Kernels().emplace(kernel, function).second)
    Die("two kernels have this name", kernel.c_str());
  return true;
}

}  // namespace trainerd::cuda_on_host
