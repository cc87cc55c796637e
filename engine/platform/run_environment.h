// SPDX-License-Identifier: Apache-2.0
// What the result of a job may depend on besides its configuration and data: the program, the CPU,
// the device and its libraries. A checkpoint stores it; a resume in another environment continues
// and reports the differences.
#pragma once

#include <cstdint>
#include <string>

namespace trainerd::engine {

// Of a cuda device, as the plugin names them. Empty on the CPU, and in checkpoints of older builds.
struct GpuEnvironment {
  std::string model;
  std::string driver;
  std::string libraries;
};

struct RunEnvironment {
  std::string engine_version;
  // XXH3-128 of the program file, in hex.
  std::string build;
  std::string torch_version;
  // Model name.
  std::string cpu;
  std::string device;
  int64_t threads = 0;
  GpuEnvironment gpu;
};

// Model name of the first CPU as the kernel prints it; "unknown" if it prints none.
std::string CpuName();

// The environment of this process. `threads` is the number of compute threads.
RunEnvironment CurrentEnvironment(const std::string& device, int64_t threads,
                                  const std::string& torch_version);

// "threads 2 → 4, cpu … → …"; empty if the environments are equal. What one of them does not know
// is no difference.
std::string EnvironmentDifferences(const RunEnvironment& then, const RunEnvironment& now);

}  // namespace trainerd::engine
