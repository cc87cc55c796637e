// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers: value i of a stream is a pure function of (seed, purpose, stream,
// i), so that nothing has to be replayed or stored to resume. Value i is output i of the SplitMix64
// generator that starts at the key of the stream.
#pragma once

#include <cstdint>

#include "proto/base/split_mix.h"

namespace trainerd::engine {

// What the numbers are for: equal seeds give unrelated streams.
enum class RngPurpose : uint64_t {
  kRowOrder = 1,
  kValidationSplit = 2,
  kSourceWeight = 3,
  kMaskingSample = 4,
  kAdapterDropout = 5,
  kWeightRounding = 6,
};

class CounterRng {
 public:
  CounterRng(int64_t seed, RngPurpose purpose, int64_t stream)
      : key_(SplitMix64(
            SplitMix64(SplitMix64(static_cast<uint64_t>(seed)) + static_cast<uint64_t>(purpose)) +
            static_cast<uint64_t>(stream))) {}

  // 64 random bits, number `index` of the stream.
  uint64_t At(uint64_t index) const { return SplitMix64(key_ + index * kSplitMixIncrement); }

  // Uniform in [0, bound) with a bias below bound / 2^64. bound > 0.
  uint64_t Below(uint64_t index, uint64_t bound) const {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(At(index)) * bound) >> 64);
  }

 private:
  uint64_t key_;
};

}  // namespace trainerd::engine
