// SPDX-License-Identifier: Apache-2.0
// A block has 16 different elements. Each block computes and rounds them once, and its codes then
// select among them.
#include "engine/ops/cpu/cpu_nf4.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "proto/base/status_macros.h"

namespace trainerd::engine::cpu {
namespace {

// Blocks that one thread should have at least.
constexpr int64_t kGrain = 256;

template <typename T>
void Dequantize(const Nf4Matrix& matrix, T* out) {
  const int64_t count = matrix.elements();
  const uint8_t* packed = matrix.codes.const_data_ptr<uint8_t>();
  const uint8_t* scales = matrix.scales.const_data_ptr<uint8_t>();
  const float* scale_scales = matrix.scale_scales.const_data_ptr<float>();
  const float mean = *matrix.scale_mean.const_data_ptr<float>();
  const float* scale_levels = matrix.scale_levels.const_data_ptr<float>();
  at::parallel_for(0, matrix.scales.numel(), kGrain, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const float difference = scale_levels[scales[block]] * scale_scales[block / kNf4ScaleBlock];
      const float scale = difference + mean;
      T elements[16];
      for (size_t i = 0; i < kNf4Levels.size(); ++i)
        elements[i] = static_cast<T>(kNf4Levels[i] * scale);
      const int64_t begin = block * kNf4Block, end = std::min(begin + kNf4Block, count);
      const uint8_t* codes = packed + begin / 2;
      T* to = out + begin;
      const int64_t pairs = (end - begin) / 2;
      for (int64_t i = 0; i < pairs; ++i) {
        to[2 * i] = elements[codes[i] >> 4];
        to[2 * i + 1] = elements[codes[i] & 15];
      }
      if ((end - begin) % 2 != 0) to[2 * pairs] = elements[codes[pairs] >> 4];
    }
  });
}

}  // namespace

void DequantizeNf4(const Nf4Matrix& matrix, const at::Tensor& out) {
  if (out.scalar_type() == at::kFloat) return Dequantize(matrix, out.mutable_data_ptr<float>());
  TRAINERD_CHECK(out.scalar_type() == at::kBFloat16);
  Dequantize(matrix, out.mutable_data_ptr<at::BFloat16>());
}

}  // namespace trainerd::engine::cpu
