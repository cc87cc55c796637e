// SPDX-License-Identifier: Apache-2.0
// The values of stored floating-point tensors, whatever their dtypes. No LibTorch.
#pragma once

#include <string_view>

#include "engine/formats/safetensors.h"

namespace trainerd::engine {

// A tensor's bytes in row-major order.
struct StoredValues {
  std::string_view bytes;
  StoredDtype dtype = StoredDtype::kFloat32;
};

// Whether `copy` holds the values of `original`, rounded to nearest where its dtype is narrower.
// False for a dtype other than F32, BF16 and F16.
bool IsCopy(const StoredValues& copy, const StoredValues& original);

}  // namespace trainerd::engine
