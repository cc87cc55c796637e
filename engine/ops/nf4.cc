// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/nf4.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/ops/dynamic_code.h"
#include "engine/ops/op_table.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

// What blocks of 0 are divided by.
constexpr float kLeastScale = 1e-38f;

int64_t BlocksOf(int64_t count, int64_t block) { return (count + block - 1) / block; }

// Element `index` of unaligned memory.
template <typename T>
float At(const char* values, int64_t index) {
  T value;
  std::memcpy(&value, values + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return static_cast<float>(value);
}

// Finds the nearest level of a number in [-1, 1], the lower one at a tie: that whose index is the
// number of midpoints of two levels below it. [-1, 1] is divided into cells that are narrower than
// the distance of two midpoints, so a cell leaves one comparison.
class NearestLevel {
 public:
  NearestLevel() {
    midpoints_.fill(1.0f);  // nothing is above the last level
    for (size_t i = 0; i + 1 < kNf4Levels.size(); ++i)
      midpoints_[i] = (kNf4Levels[i] + kNf4Levels[i + 1]) / 2.0f;
    for (size_t cell = 0; cell < below_.size(); ++cell) {
      // Numbers just below the edge are rounded into the cell.
      const float edge = static_cast<float>(cell) / kScale - 1.0f - 1e-5f;
      below_[cell] = static_cast<uint8_t>(
          std::lower_bound(midpoints_.begin(), midpoints_.end() - 1, edge) - midpoints_.begin());
    }
  }
  uint8_t operator()(float x) const {
    const uint8_t below = below_[static_cast<size_t>((x + 1.0f) * kScale)];
    return static_cast<uint8_t>(below + (x > midpoints_[below]));
  }

 private:
  static constexpr float kScale = 128.0f;
  std::array<float, 16> midpoints_;
  std::array<uint8_t, 257> below_;
};

// Codes and scale of one block of `count` elements.
template <typename T>
float QuantizeBlock(const char* values, int64_t begin, int64_t count, uint8_t* packed) {
  float x[kNf4Block] = {};
  for (int64_t i = 0; i < count; ++i) x[i] = At<T>(values, begin + i);
  float scale = 0.0f;
  for (float value : x) scale = std::max(scale, std::fabs(value));
  if (count < kNf4Block) {
    scale = std::max(scale, kLeastScale);
    for (float& value : x) value /= scale;
  } else {
    const float inverse = 1.0f / std::max(scale, kLeastScale);
    for (float& value : x) value *= inverse;
  }
  static const NearestLevel nearest;
  const auto code = [&](int64_t i) { return nearest(std::clamp(x[i], -1.0f, 1.0f)); };
  for (int64_t i = 0; i < count; i += 2)
    packed[i / 2] = static_cast<uint8_t>(code(i) << 4 | code(i + 1));
  return scale;
}

template <typename T>
void QuantizeBlocks(const at::Tensor& values, const at::Tensor& scales, const at::Tensor& codes) {
  const char* from = static_cast<const char*>(values.const_data_ptr());
  float* scale = scales.mutable_data_ptr<float>();
  uint8_t* code = codes.mutable_data_ptr<uint8_t>();
  const int64_t count = values.numel();
  at::parallel_for(0, scales.numel(), /*grain_size=*/64, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * kNf4Block;
      scale[block] =
          QuantizeBlock<T>(from, begin, std::min(kNf4Block, count - begin), code + begin / 2);
    }
  });
}

// As torch computes it on one thread. In a parallel region, ATen does not split the sum, so the
// bits do not depend on the number of threads.
float MeanOf(const at::Tensor& scales) {
  float mean = 0.0f;
  at::parallel_for(0, 2, /*grain_size=*/1, [&](int64_t begin, int64_t) {
    if (begin == 0) mean = at::mean(scales).item<float>();
  });
  return mean;
}

const DynamicCode& ScaleCode() {
  static const DynamicCode code = MakeDynamicCode(/*is_signed=*/true, at::kCPU);
  return code;
}

// Codes and scale of one block of at most kNf4ScaleBlock numbers.
float QuantizeScaleBlock(const float* values, int64_t count, uint8_t* codes) {
  float scale = 0.0f;
  for (int64_t i = 0; i < count; ++i) scale = std::max(scale, std::fabs(values[i]));
  if (scale == 0.0f) {
    std::fill_n(codes, count, uint8_t{0});
    return scale;
  }
  const float inverse = 1.0f / scale;
  const uint8_t* nearest = ScaleCode().nearest.const_data_ptr<uint8_t>();
  for (int64_t i = 0; i < count; ++i) {
    const float share = std::clamp(values[i] * inverse, -1.0f, 1.0f);
    // Product and sum are rounded once, as in bitsandbytes' compiled code.
    const float cell = std::fma((share + 1.0f) * 0.5f, kDynamicCells - 1.0f, 0.5f);
    codes[i] = nearest[static_cast<size_t>(cell)];
  }
  return scale;
}

// scales → 8-bit codes, and the fp32 scale of each 256 of them. Overwrites `scales`.
void QuantizeScales(const at::Tensor& scales, const Nf4Matrix& matrix) {
  const int64_t count = scales.numel();
  const float mean = MeanOf(scales);
  float* difference = scales.mutable_data_ptr<float>();
  for (int64_t i = 0; i < count; ++i) difference[i] -= mean;
  float* block_scale = matrix.scale_scales.mutable_data_ptr<float>();
  uint8_t* codes = matrix.scales.mutable_data_ptr<uint8_t>();
  for (int64_t begin = 0; begin < count; begin += kNf4ScaleBlock) {
    *block_scale++ = QuantizeScaleBlock(difference + begin, std::min(kNf4ScaleBlock, count - begin),
                                        codes + begin);
  }
  *matrix.scale_mean.mutable_data_ptr<float>() = mean;
}

void Quantize(const at::Tensor& values, const Nf4Matrix& matrix) {
  const at::Tensor scales = at::empty({matrix.scales.numel()}, at::kFloat);
  if (values.scalar_type() == at::kFloat) {
    QuantizeBlocks<float>(values, scales, matrix.codes);
  } else if (values.scalar_type() == at::kBFloat16) {
    QuantizeBlocks<at::BFloat16>(values, scales, matrix.codes);
  } else {
    TRAINERD_CHECK(values.scalar_type() == at::kHalf);
    QuantizeBlocks<at::Half>(values, scales, matrix.codes);
  }
  QuantizeScales(scales, matrix);
}

}  // namespace

Nf4Matrix Nf4Matrix::Zeros(int64_t rows, int64_t columns, at::Device device) {
  const auto bytes = at::TensorOptions().device(device).dtype(at::kByte);
  const int64_t blocks = BlocksOf(rows * columns, kNf4Block);
  return {.rows = rows,
          .columns = columns,
          .codes = at::zeros({(rows * columns + 1) / 2}, bytes),
          .scales = at::zeros({blocks}, bytes),
          .scale_scales = at::zeros({BlocksOf(blocks, kNf4ScaleBlock)}, bytes.dtype(at::kFloat)),
          .scale_mean = at::zeros({1}, bytes.dtype(at::kFloat)),
          .scale_levels = ScaleCode().values};
}

int64_t Nf4Matrix::BytesFor(int64_t rows, int64_t columns) {
  const int64_t blocks = BlocksOf(rows * columns, kNf4Block);
  return (rows * columns + 1) / 2 + blocks + 4 * BlocksOf(blocks, kNf4ScaleBlock) + 4;
}

void QuantizeNf4(const at::Tensor& values, const Nf4Matrix& matrix) {
  TRAINERD_CHECK(values.is_contiguous() && values.is_cpu() && values.dim() == 2 &&
                 values.size(0) == matrix.rows && values.size(1) == matrix.columns);
  if (matrix.codes.is_cpu()) return Quantize(values, matrix);
  const Nf4Matrix host = Nf4Matrix::Zeros(matrix.rows, matrix.columns, at::kCPU);
  Quantize(values, host);
  matrix.codes.copy_(host.codes);
  matrix.scales.copy_(host.scales);
  matrix.scale_scales.copy_(host.scale_scales);
  matrix.scale_mean.copy_(host.scale_mean);
}

void DequantizeNf4(const Nf4Matrix& matrix, const at::Tensor& out) {
  TRAINERD_CHECK(out.is_contiguous() && out.numel() == matrix.elements());
  OpsFor(out.device()).dequantize_nf4(matrix, out);
}

}  // namespace trainerd::engine
