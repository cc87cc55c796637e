// SPDX-License-Identifier: Apache-2.0
#include "engine/optim/weight_window.h"

#include <ATen/Parallel.h>

#include <bit>
#include <cstdint>

#include "proto/base/split_mix.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

// The bits of fp32 that bf16 drops.
constexpr int kDroppedBits = 16;
constexpr uint32_t kExponent = 0x7f800000u;

}  // namespace

WeightWindow::WeightWindow(ParameterSet& parameters, int64_t begin, int64_t size)
    : parameters_(parameters),
      begin_(begin),
      master_(parameters.flat_master().narrow(0, begin, size).to(at::kFloat)),
      grad_(parameters.flat_grad().narrow(0, begin, size).to(at::kFloat)) {
  if (parameters.precision() == Precision::kBf16)
    value_ = parameters.flat_value().narrow(0, begin, size);
}

void WeightWindow::Store() const {
  if (!IsPureBf16(parameters_.precision())) return;
  RoundStochastically(master_, parameters_.flat_value().narrow(0, begin_, master_.numel()),
                      parameters_.rounding_key(), begin_);
}

void RoundStochastically(const at::Tensor& from, const at::Tensor& to, uint64_t key,
                         int64_t first) {
  TRAINERD_CHECK(from.is_cpu() && from.is_contiguous() && to.is_contiguous() &&
                 from.numel() == to.numel());
  const float* source = from.const_data_ptr<float>();
  auto* target = reinterpret_cast<uint16_t*>(to.mutable_data_ptr<at::BFloat16>());
  at::parallel_for(0, from.numel(), /*grain_size=*/8192, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      // One random number has the bits of four elements.
      const auto element = static_cast<uint64_t>(first + i);
      const uint64_t random =
          SplitMix64(key + element / 4 * kSplitMixIncrement) >> (element % 4 * kDroppedBits);
      uint32_t bits = std::bit_cast<uint32_t>(source[i]);
      // Infinity and NaN stay.
      if ((bits & kExponent) != kExponent) bits += static_cast<uint16_t>(random);
      target[i] = static_cast<uint16_t>(bits >> kDroppedBits);
    }
  });
}

}  // namespace trainerd::engine
