// SPDX-License-Identifier: Apache-2.0
// Stored dtypes of safetensors ↔ LibTorch's scalar types, for the floating-point types that weights
// come in.
#pragma once

#include <c10/core/ScalarType.h>

#include "engine/formats/safetensors.h"

namespace trainerd::engine {

// `dtype` must be one of F32, BF16, F16 (HfFolder::CheckComplete).
at::ScalarType ScalarTypeOf(StoredDtype dtype);
// `type` must be one of kFloat, kBFloat16, kHalf.
StoredDtype StoredDtypeOf(at::ScalarType type);

}  // namespace trainerd::engine
