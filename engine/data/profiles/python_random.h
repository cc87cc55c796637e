// SPDX-License-Identifier: Apache-2.0
// The random numbers of CPython's `random` module for an integer seed: MT19937 seeded by
// init_by_array, random() with 53 bits, and the integers of choice() and randint(). Used where the
// replaced Python system's choices must be met exactly. Source: M. Matsumoto, T. Nishimura 1998
// (mt19937ar); CPython 3.11 Lib/random.py for what is drawn from it.
#pragma once

#include <cstdint>
#include <random>

namespace trainerd::engine {

class PythonRandom {
 public:
  // random.seed(seed); Python uses the absolute value.
  explicit PythonRandom(int64_t seed);

  // random.random(): in [0, 1).
  double Random();
  // random._randbelow(bound): what choice(sequence of `bound`) draws. bound >= 1.
  uint32_t Below(uint32_t bound);
  // random.randint(low, high), both included.
  int64_t RandInt(int64_t low, int64_t high);

 private:
  std::mt19937 generator_;
};

}  // namespace trainerd::engine
