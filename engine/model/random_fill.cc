// SPDX-License-Identifier: Apache-2.0
#include "engine/model/random_fill.h"

#include <ATen/Parallel.h>
#include <ATen/ops/from_blob.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include "proto/base/split_mix.h"

namespace trainerd::engine {
namespace {

// Uniform in (0, 1).
double Uniform(uint64_t bits) { return (static_cast<double>(bits >> 11) + 0.5) * 0x1.0p-53; }

// Numbers 2 × pair and 2 × pair + 1 of the normal distribution of `key`, by Box–Muller on two
// counters.
void NormalPair(uint64_t key, int64_t pair, double deviation, float* first, float* second) {
  const uint64_t counter = SplitMix64(key) + 2 * static_cast<uint64_t>(pair);
  const double radius = deviation * std::sqrt(-2.0 * std::log(Uniform(SplitMix64(counter)))),
               angle = 2.0 * M_PI * Uniform(SplitMix64(counter + 1));
  *first = static_cast<float>(radius * std::cos(angle));
  if (second != nullptr) *second = static_cast<float>(radius * std::sin(angle));
}

void CopyFrom(std::vector<float>& values, const at::Tensor& target) {
  target.copy_(at::from_blob(values.data(), target.sizes(), at::TensorOptions().dtype(at::kFloat)));
}

}  // namespace

void FillNormal(const at::Tensor& target, uint64_t key, double deviation) {
  std::vector<float> values(static_cast<size_t>(target.numel()));
  const int64_t count = target.numel();
  at::parallel_for(0, (count + 1) / 2, /*grain_size=*/4096, [&](int64_t begin, int64_t end) {
    for (int64_t pair = begin; pair < end; ++pair) {
      NormalPair(key, pair, deviation, &values[2 * pair],
                 2 * pair + 1 < count ? &values[2 * pair + 1] : nullptr);
    }
  });
  CopyFrom(values, target);
}

void FillUniform(const at::Tensor& target, uint64_t key, double bound) {
  std::vector<float> values(static_cast<size_t>(target.numel()));
  const uint64_t counter = SplitMix64(key);
  at::parallel_for(0, target.numel(), /*grain_size=*/8192, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const double unit = Uniform(SplitMix64(counter + static_cast<uint64_t>(i)));
      values[static_cast<size_t>(i)] = static_cast<float>((2.0 * unit - 1.0) * bound);
    }
  });
  CopyFrom(values, target);
}

}  // namespace trainerd::engine
