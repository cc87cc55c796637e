// SPDX-License-Identifier: Apache-2.0
// The vector instructions of this CPU, for the choice between compiled variants of the CPU kernels
// at run time.
#pragma once

namespace trainerd::engine {

enum class CpuLevel { kBaseline, kAvx2, kAvx512 };

// Detected once; constant for the life of the process.
CpuLevel DetectCpuLevel();

}  // namespace trainerd::engine
