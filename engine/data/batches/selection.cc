// SPDX-License-Identifier: Apache-2.0
#include "engine/data/batches/selection.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace trainerd::engine {

std::vector<int64_t> ChooseSeeded(int64_t count, int64_t chosen, const CounterRng& rng) {
  chosen = std::clamp<int64_t>(chosen, 0, count);
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  const auto smaller = [&](int64_t a, int64_t b) {
    const uint64_t of_a = rng.At(static_cast<uint64_t>(a)), of_b = rng.At(static_cast<uint64_t>(b));
    return of_a != of_b ? of_a < of_b : a < b;
  };
  if (chosen < count) {
    std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(chosen),
                     order.end(), smaller);
  }
  order.resize(static_cast<size_t>(chosen));
  std::sort(order.begin(), order.end());
  return order;
}

std::vector<int32_t> CopiesForWeight(int64_t count, double weight, const CounterRng& rng) {
  const double whole = std::floor(weight);
  int64_t extra = std::llround((weight - whole) * static_cast<double>(count));
  if (whole < 1 && count > 0) extra = std::max<int64_t>(extra, 1);
  std::vector<int32_t> copies(static_cast<size_t>(count), static_cast<int32_t>(whole));
  for (const int64_t i : ChooseSeeded(count, extra, rng)) ++copies[static_cast<size_t>(i)];
  return copies;
}

}  // namespace trainerd::engine
