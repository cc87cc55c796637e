// SPDX-License-Identifier: Apache-2.0
// The random numbers of dropout.h, which every table computes alike: of row `row`, columns 2 × j
// and 2 × j + 1 take the low and the high half of SplitMix64(row + j × kSplitMixIncrement).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "proto/base/split_mix.h"

namespace trainerd::engine {

inline uint64_t DropoutRow(uint64_t key, int64_t row_key) {
  return SplitMix64(key ^ SplitMix64(static_cast<uint64_t>(row_key)));
}

// An element stays if its number is not below this.
inline uint32_t DropoutThreshold(double probability) {
  return static_cast<uint32_t>(std::min(std::round(probability * 0x1.0p32), 0x1.0p32 - 1.0));
}

}  // namespace trainerd::engine
