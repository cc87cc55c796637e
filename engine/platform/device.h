// SPDX-License-Identifier: Apache-2.0
// The devices of this machine and their memory. CUDA is in a plugin that is loaded only when a cuda
// device is requested.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/platform/cuda_plugin.h"
#include "engine/platform/run_environment.h"

namespace trainerd::engine {

// One entry of `trainerd-worker devices`.
struct DeviceDescription {
  // "cpu" or "cuda:N".
  std::string name;
  // For example "AMD EPYC …" or "NVIDIA H200".
  std::string model;
  // "" for the CPU.
  std::string uuid;
  int64_t memory_bytes = 0;
  // Why the device cannot be used and what to do; "" = it can be used.
  std::string unavailable;
};

// The CPU, then the cuda devices. If the machine has an NVIDIA device but the plugin or the driver
// does not work, there is one entry cuda:0 whose `unavailable` names what is missing.
std::vector<DeviceDescription> ListDevices();

// Makes a device ready for ATen. `name`: cpu, cuda or cuda:N.
// Errors: InvalidArgument for another name; NotFound if the machine has no such device or a library
// that the device needs is not installed (the message names it).
absl::StatusOr<c10::Device> OpenDevice(const std::string& name);

// Model and versions of an open cuda device; empty for the CPU.
GpuEnvironment ReadGpuEnvironment(c10::Device device);

// The plugin that OpenDevice or ListDevices has loaded; null if none has been.
const TrainerdCudaPlugin* OpenedCudaPlugin();

struct DeviceMemory {
  int64_t bytes = 0;
  int64_t peak_bytes = 0;
};
// What this process uses on the device, now and at most since its start: the resident set for the
// CPU, what LibTorch has reserved for tensors for a cuda device. Absent if it cannot be measured.
std::optional<DeviceMemory> ReadDeviceMemory(c10::Device device);

}  // namespace trainerd::engine
