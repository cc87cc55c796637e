// SPDX-License-Identifier: Apache-2.0
#include "engine/platform/cpu_level.h"

namespace trainerd::engine {

CpuLevel DetectCpuLevel() {
  static const CpuLevel level = [] {
    if (__builtin_cpu_supports("x86-64-v4")) return CpuLevel::kAvx512;
    if (__builtin_cpu_supports("x86-64-v3")) return CpuLevel::kAvx2;
    return CpuLevel::kBaseline;
  }();
  return level;
}

}  // namespace trainerd::engine
