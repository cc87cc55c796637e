// SPDX-License-Identifier: Apache-2.0
// What the result of a job may depend on besides its configuration and data: the program, the CPU,
// the device. A checkpoint stores it; a resume in another environment continues and reports the
// differences.
#pragma once

#include <cstdint>
#include <string>

namespace trainerd::engine {

struct RunEnvironment {
  std::string engine_version;
  // XXH3-128 of the program file, in hex.
  std::string build;
  std::string torch_version;
  // Model name.
  std::string cpu;
  std::string device;
  int64_t threads = 0;
};

// Model name of the first CPU as the kernel prints it; "unknown" if it prints none.
std::string CpuName();

// The environment of this process. `threads` is the number of compute threads.
RunEnvironment CurrentEnvironment(const std::string& device, int64_t threads,
                                  const std::string& torch_version);

// "threads 2 → 4, cpu … → …"; empty if the environments are equal.
std::string EnvironmentDifferences(const RunEnvironment& then, const RunEnvironment& now);

}  // namespace trainerd::engine
