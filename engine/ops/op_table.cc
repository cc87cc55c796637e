// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/op_table.h"

#include <array>

namespace trainerd::engine {
namespace {

// Not locked: written before the first op runs (RegisterOps), read afterwards.
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

}  // namespace trainerd::engine
