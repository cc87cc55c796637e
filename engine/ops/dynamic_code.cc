// SPDX-License-Identifier: Apache-2.0
#include "engine/ops/dynamic_code.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

constexpr int kExponents = 7;
constexpr size_t kValues = 256;

// `count` + 1 equidistant fp32 numbers from 0.1 to 1, counted from the nearer end. Product and sum
// are rounded once, as in torch.linspace.
std::vector<float> Boundaries(int count) {
  constexpr float kFirst = 0.1f, kLast = 1.0f;
  const float distance = (kLast - kFirst) / static_cast<float>(count);
  std::vector<float> boundaries;
  for (int i = 0; i <= count; ++i) {
    boundaries.push_back(i < (count + 1) / 2
                             ? std::fma(distance, static_cast<float>(i), kFirst)
                             : std::fma(-distance, static_cast<float>(count - i), kLast));
  }
  return boundaries;
}

// The middles of 2^k intervals (unsigned: twice as many) between 10^(k - 7) and 10^(k - 6), for k
// from 0 to 6; signed: also their negatives; 0 and 1.
std::vector<float> Values(bool is_signed) {
  std::vector<float> values = {0.0f, 1.0f};
  for (int k = 0; k < kExponents; ++k) {
    const std::vector<float> boundaries = Boundaries(1 << (is_signed ? k : k + 1));
    const auto scale = static_cast<float>(std::pow(10.0, k - kExponents + 1));
    for (size_t i = 0; i + 1 < boundaries.size(); ++i) {
      const float value = scale * ((boundaries[i] + boundaries[i + 1]) / 2.0f);
      values.push_back(value);
      if (is_signed) values.push_back(-value);
    }
  }
  std::sort(values.begin(), values.end());
  TRAINERD_CHECK(values.size() == kValues);
  return values;
}

}  // namespace

DynamicCode MakeDynamicCode(bool is_signed, at::Device device) {
  const std::vector<float> values = Values(is_signed);
  const at::Tensor nearest = at::empty({kDynamicCells}, at::TensorOptions().dtype(at::kByte));
  auto* const cells = nearest.mutable_data_ptr<uint8_t>();
  size_t value = 0;
  for (int64_t cell = 0; cell < kDynamicCells; ++cell) {
    const float share =
        -1.0f + (2.0f * static_cast<float>(cell)) / static_cast<float>(kDynamicCells - 1);
    while (value + 1 < kValues && 0.5f * (values[value] + values[value + 1]) < share) ++value;
    cells[cell] = static_cast<uint8_t>(value);
  }
  return {.values = at::tensor(values, at::TensorOptions().dtype(at::kFloat)).to(device),
          .nearest = nearest.to(device)};
}

}  // namespace trainerd::engine
