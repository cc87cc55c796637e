// SPDX-License-Identifier: Apache-2.0
// SplitMix64: a counter in, 64 well mixed bits out. Not for cryptography.
// Source: Steele, Lea & Flood, "Fast Splittable Pseudorandom Number Generators" (2014); constants
// of Vigna's splitmix64.c.
#pragma once

#include <cstdint>

namespace trainerd {

// Added to the counter per step: 2^64 divided by the golden ratio.
inline constexpr uint64_t kSplitMixIncrement = 0x9e3779b97f4a7c15u;

// Output of the generator whose state is `value`. A bijection.
inline uint64_t SplitMix64(uint64_t value) {
  value += kSplitMixIncrement;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

}  // namespace trainerd
