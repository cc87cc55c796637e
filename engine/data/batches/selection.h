// SPDX-License-Identifier: Apache-2.0
// Seeded choices over the examples that are made once per job: the validation split, and the share
// of a weighted file.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/data/batches/counter_rng.h"

namespace trainerd::engine {

// Chooses exactly `chosen` of the numbers 0 … count − 1, in ascending order: those with the
// smallest random numbers. Cost: O(count).
std::vector<int64_t> ChooseSeeded(int64_t count, int64_t chosen, const CounterRng& rng);

// How often each of `count` examples of a file with `weight` is trained in an epoch: floor(weight)
// times, and a seeded share of them, the fraction of weight, once more. The sum is round(weight x
// count), at least 1 when count is.
std::vector<int32_t> CopiesForWeight(int64_t count, double weight, const CounterRng& rng);

}  // namespace trainerd::engine
