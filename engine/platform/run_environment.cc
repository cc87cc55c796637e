// SPDX-License-Identifier: Apache-2.0
#include "engine/platform/run_environment.h"

#include <cstdio>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/core/engine_version.h"
#include "proto/base/atomic_file.h"
#include "proto/base/hash.h"

namespace trainerd::engine {
namespace {

std::string ProgramHash() {
  const absl::StatusOr<std::string> program = ReadFile("/proc/self/exe");
  return program.ok() ? ToHex(Xxh3(*program)) : "unknown";
}

}  // namespace

std::string CpuName() {
  // /proc files have no size, so they are read through stdio.
  std::FILE* file = std::fopen("/proc/cpuinfo", "re");
  if (file == nullptr) return "unknown";
  std::string name = "unknown";
  char line[512];
  while (std::fgets(line, sizeof(line), file) != nullptr) {
    const std::string_view text(line);
    const size_t colon = text.find(": ");
    if (text.substr(0, 10) == "model name" && colon != std::string_view::npos) {
      name = std::string(text.substr(colon + 2));
      while (!name.empty() && name.back() == '\n') name.pop_back();
      break;
    }
  }
  std::fclose(file);
  return name;
}

RunEnvironment CurrentEnvironment(const std::string& device, int64_t threads,
                                  const std::string& torch_version) {
  return {.engine_version = kEngineVersion,
          .build = ProgramHash(),
          .torch_version = torch_version,
          .cpu = CpuName(),
          .device = device,
          .threads = threads};
}

std::string EnvironmentDifferences(const RunEnvironment& then, const RunEnvironment& now) {
  std::vector<std::string> differences;
  const auto compare = [&](const char* what, const std::string& a, const std::string& b) {
    if (!a.empty() && !b.empty() && a != b)
      differences.push_back(absl::StrCat(what, " ", a, " → ", b));
  };
  compare("engine version", then.engine_version, now.engine_version);
  compare("build", then.build.substr(0, 8), now.build.substr(0, 8));
  compare("LibTorch", then.torch_version, now.torch_version);
  compare("CPU", then.cpu, now.cpu);
  compare("device", then.device, now.device);
  compare("GPU", then.gpu.model, now.gpu.model);
  compare("GPU driver", then.gpu.driver, now.gpu.driver);
  compare("CUDA libraries", then.gpu.libraries, now.gpu.libraries);
  compare("threads", absl::StrCat(then.threads), absl::StrCat(now.threads));
  return absl::StrJoin(differences, ", ");
}

}  // namespace trainerd::engine
