// SPDX-License-Identifier: Apache-2.0
// The dtypes of weights: safetensors ↔ LibTorch.
#pragma once

#include <c10/core/ScalarType.h>

#include "engine/formats/safetensors.h"

namespace trainerd::engine {

// `dtype` must be F32, BF16 or F16 (HfFolder::CheckComplete).
at::ScalarType ScalarTypeOf(StoredDtype dtype);
// `type` must be kFloat, kBFloat16 or kHalf.
StoredDtype StoredDtypeOf(at::ScalarType type);

}  // namespace trainerd::engine
