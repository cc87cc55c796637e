// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers: value i of a stream is a pure function of (seed, purpose, stream,
// i), so that nothing has to be replayed or stored to resume. Each is the 64-bit finalizer of
// SplitMix64 (Steele, Lea, Flood 2014; constants of Vigna's splitmix64.c) over a key plus i times
// the golden-ratio increment.
#pragma once

#include <cstdint>

namespace trainerd::engine {

// What the numbers are for: equal seeds give unrelated streams.
enum class RngPurpose : uint64_t {
  kRowOrder = 1,
  kValidationSplit = 2,
  kSourceWeight = 3,
  kMaskingSample = 4,
};

class CounterRng {
 public:
  CounterRng(int64_t seed, RngPurpose purpose, int64_t stream)
      : key_(Mix(Mix(Mix(static_cast<uint64_t>(seed)) + static_cast<uint64_t>(purpose)) +
                 static_cast<uint64_t>(stream))) {}

  // 64 random bits, number `index` of the stream.
  uint64_t At(uint64_t index) const { return Mix(key_ + index * 0x9e3779b97f4a7c15u); }

  // Uniform in [0, bound) with a bias below bound / 2^64. bound > 0.
  uint64_t Below(uint64_t index, uint64_t bound) const {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(At(index)) * bound) >> 64);
  }

 private:
  static uint64_t Mix(uint64_t value) {
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
  }
  uint64_t key_;
};

}  // namespace trainerd::engine
