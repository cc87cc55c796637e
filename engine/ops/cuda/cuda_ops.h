// SPDX-License-Identifier: Apache-2.0
// The op table for CUDA tensors. It needs ATen but not the CUDA runtime: the two functions of the
// runtime that it calls are declared here. The plugin defines them over LibTorch, and tests define
// them for the kernels' host build.
#pragma once

#include "engine/ops/op_table.h"

namespace trainerd::engine::cuda {

// A copy of `reference` in which our kernels replace entries. Later calls return the same table.
const OpTable* CudaOps(const OpTable& reference);

// The cudaStream_t that ATen uses on `device` in this thread.
void* CurrentStream(at::Device device);
// Reports a launch that the CUDA runtime rejected. Errors: throws c10::Error, as ATen's ops do.
void CheckLaunch();

}  // namespace trainerd::engine::cuda
