// SPDX-License-Identifier: Apache-2.0
// The kernels for CpuLevel::kAvx2. Every header comes before the pragma: no function of theirs may
// be compiled for instructions that the CPU may lack.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "engine/ops/cpu/kernels.h"

#pragma GCC optimize("O3", "no-math-errno", "no-trapping-math")
#pragma GCC target("arch=x86-64-v3")

#define TRAINERD_VECTOR_WIDTH 8
#define TRAINERD_GEMM_ROWS 4
#define TRAINERD_KERNEL_LEVEL CpuLevel::kAvx2
#define TRAINERD_KERNEL_TABLE Avx2Kernels

#include "engine/ops/cpu/kernels.inc"
