// SPDX-License-Identifier: Apache-2.0
// Sizes of quantized moments. No LibTorch, for the kernels.
#pragma once

#include <cstdint>

namespace trainerd::engine {

// Elements that share a scale.
inline constexpr int64_t kMomentBlock = 256;
// Cells that a share of the scale is rounded to (dynamic_code.h).
inline constexpr int64_t kDynamicCells = 65536;

}  // namespace trainerd::engine
