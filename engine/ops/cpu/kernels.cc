// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/cpu/kernels.h"

namespace trainerd::engine::cpu {

const Kernels& BestKernels() {
  switch (DetectCpuLevel()) {
    case CpuLevel::kAvx512:
      return Avx512Kernels();
    case CpuLevel::kAvx2:
      return Avx2Kernels();
    case CpuLevel::kBaseline:
      break;
  }
  return BaselineKernels();
}

}  // namespace trainerd::engine::cpu
