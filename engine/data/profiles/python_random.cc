// SPDX-License-Identifier: Apache-2.0
#include "engine/data/profiles/python_random.h"

#include <algorithm>
#include <array>
#include <vector>

#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

constexpr size_t kWords = 624;

// init_by_array of mt19937ar.
std::array<uint32_t, kWords> InitByArray(const std::vector<uint32_t>& key) {
  std::array<uint32_t, kWords> state;
  state[0] = 19650218u;
  for (size_t i = 1; i < kWords; ++i) {
    state[i] = 1812433253u * (state[i - 1] ^ (state[i - 1] >> 30)) + static_cast<uint32_t>(i);
  }
  size_t i = 1, j = 0;
  const auto advance = [&] {
    if (++i >= kWords) {
      state[0] = state[kWords - 1];
      i = 1;
    }
  };
  for (size_t k = std::max(kWords, key.size()); k > 0; --k) {
    const uint32_t mixed = (state[i - 1] ^ (state[i - 1] >> 30)) * 1664525u;
    state[i] = (state[i] ^ mixed) + key[j] + static_cast<uint32_t>(j);
    advance();
    if (++j >= key.size()) j = 0;
  }
  for (size_t k = kWords - 1; k > 0; --k) {
    const uint32_t mixed = (state[i - 1] ^ (state[i - 1] >> 30)) * 1566083941u;
    state[i] = (state[i] ^ mixed) - static_cast<uint32_t>(i);
    advance();
  }
  state[0] = 0x80000000u;
  return state;
}

// Hands a ready state to std::mt19937, which takes one word per value of a seed sequence.
class ReadyState {
 public:
  using result_type = uint32_t;
  explicit ReadyState(const std::array<uint32_t, kWords>& state) : state_(state) {}
  template <typename Iterator>
  void generate(Iterator begin, Iterator end) {
    for (size_t i = 0; begin != end; ++begin, ++i) *begin = state_[i];
  }

 private:
  const std::array<uint32_t, kWords>& state_;
};

}  // namespace

PythonRandom::PythonRandom(int64_t seed) {
  uint64_t magnitude =
      seed < 0 ? uint64_t{0} - static_cast<uint64_t>(seed) : static_cast<uint64_t>(seed);
  std::vector<uint32_t> key{static_cast<uint32_t>(magnitude)};
  if (magnitude >> 32) key.push_back(static_cast<uint32_t>(magnitude >> 32));
  const std::array<uint32_t, kWords> state = InitByArray(key);
  ReadyState sequence(state);
  generator_.seed(sequence);
}

double PythonRandom::Random() {
  const uint32_t high = static_cast<uint32_t>(generator_()) >> 5;
  const uint32_t low = static_cast<uint32_t>(generator_()) >> 6;
  return (high * 67108864.0 + low) * (1.0 / 9007199254740992.0);
}

uint32_t PythonRandom::Below(uint32_t bound) {
  TRAINERD_CHECK(bound >= 1);
  const int bits = 32 - __builtin_clz(bound);
  uint32_t value;
  do {
    value = static_cast<uint32_t>(generator_()) >> (32 - bits);
  } while (value >= bound);
  return value;
}

int64_t PythonRandom::RandInt(int64_t low, int64_t high) {
  return low + Below(static_cast<uint32_t>(high - low + 1));
}

}  // namespace trainerd::engine
