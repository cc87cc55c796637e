// SPDX-License-Identifier: Apache-2.0
// The devices of this machine and their memory. CUDA is behind a plugin that is opened only when a
// cuda device is requested.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace trainerd::engine {

// One entry of `trainerd-worker devices`.
struct DeviceDescription {
  std::string name;   // "cpu", "cuda:0"
  std::string model;  // "AMD EPYC …", "NVIDIA H200"
  std::string uuid;   // "" for the CPU
  int64_t memory_bytes = 0;
  std::string unavailable;  // why it cannot be used, and what to do; "" = it is usable
};

// The CPU first, then the cuda devices. On a machine with an NVIDIA device whose plugin or driver
// does not work, the entry cuda:0 describes what is missing.
std::vector<DeviceDescription> ListDevices();

// Opens what the device needs. `name`: cpu, cuda or cuda:N.
// Errors: InvalidArgument for another name; NotFound if the machine has no such device, or if what
// the device needs is not installed (the message names it).
absl::StatusOr<c10::Device> OpenDevice(const std::string& name);

struct DeviceMemory {
  int64_t bytes = 0;
  int64_t peak_bytes = 0;
};
// In use by this process and its peak: the resident set for the CPU. Absent if it cannot be
// measured.
std::optional<DeviceMemory> ReadDeviceMemory(c10::Device device);

}  // namespace trainerd::engine
