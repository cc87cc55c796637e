// SPDX-License-Identifier: Apache-2.0
// The dtypes of weights and optimizer state: safetensors ↔ LibTorch.
#pragma once

#include <c10/core/ScalarType.h>

#include "engine/formats/safetensors.h"

namespace trainerd::engine {

// `dtype` must be F32, BF16, F16 (of weights: HfFolder::CheckComplete) or U8.
at::ScalarType ScalarTypeOf(StoredDtype dtype);
// `type` must be kFloat, kBFloat16, kHalf or kByte.
StoredDtype StoredDtypeOf(at::ScalarType type);

}  // namespace trainerd::engine
