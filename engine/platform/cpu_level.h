// SPDX-License-Identifier: Apache-2.0
// Which vector instructions this CPU has, for the run-time choice between compiled variants of the
// CPU kernels.
#pragma once

namespace trainerd::engine {

enum class CpuLevel { kBaseline, kAvx2, kAvx512 };

// Asked once; the same for the life of the process.
CpuLevel DetectCpuLevel();

}  // namespace trainerd::engine
