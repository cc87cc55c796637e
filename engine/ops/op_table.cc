// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/op_table.h"

#include <array>

#include "engine/platform/cuda_plugin.h"
#include "engine/platform/device.h"

namespace trainerd::engine {
namespace {

// Not locked: RegisterOps writes it before the first op runs.
std::array<const OpTable*, at::COMPILE_TIME_MAX_DEVICE_TYPES>& Tables() {
  static std::array<const OpTable*, at::COMPILE_TIME_MAX_DEVICE_TYPES> tables = [] {
    std::array<const OpTable*, at::COMPILE_TIME_MAX_DEVICE_TYPES> initial{};
    initial.fill(&ReferenceOps());
    initial[static_cast<size_t>(at::kCPU)] = &CpuOps();
    return initial;
  }();
  return tables;
}

}  // namespace

const OpTable& OpsFor(at::Device device) { return *Tables()[static_cast<size_t>(device.type())]; }

void RegisterOps(at::DeviceType device, const OpTable& table) {
  Tables()[static_cast<size_t>(device)] = &table;
}

void RegisterDeviceOps(at::Device device) {
  const TrainerdCudaPlugin* plugin = device.is_cuda() ? OpenedCudaPlugin() : nullptr;
  if (plugin != nullptr) RegisterOps(at::kCUDA, *plugin->ops(ReferenceOps()));
}

}  // namespace trainerd::engine
