// SPDX-License-Identifier: Apache-2.0
#include "engine/formats/float_values.h"

#include <cmath>
#include <cstdint>
#include <cstring>

namespace trainerd::engine {
namespace {

// IEEE 754 binary16: 1 sign bit, 5 bits of exponent, 10 bits of fraction.
float HalfValue(uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1f, fraction = bits & 0x3ff;
  float value = exponent == 0x1f ? (fraction == 0 ? INFINITY : NAN)
                : exponent == 0  ? std::ldexp(static_cast<float>(fraction), -24)
                                 : std::ldexp(static_cast<float>(fraction + 0x400), exponent - 25);
  return (bits & 0x8000) != 0 ? -value : value;
}

float ValueAt(const StoredValues& values, size_t index) {
  if (values.dtype == StoredDtype::kFloat32) {
    float value = 0;
    std::memcpy(&value, values.bytes.data() + index * sizeof(value), sizeof(value));
    return value;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, values.bytes.data() + index * sizeof(bits), sizeof(bits));
  if (values.dtype == StoredDtype::kFloat16) return HalfValue(bits);
  const uint32_t wide = uint32_t{bits} << 16;
  float value = 0;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

// Largest difference between `value` and its nearest neighbor in `dtype`: half a unit in the last
// place of 24, 8 or 11 bits, and of a subnormal fp16.
float RoundingOf(float value, StoredDtype dtype) {
  if (dtype == StoredDtype::kFloat32) return 0.0F;
  if (dtype == StoredDtype::kBFloat16) return std::fabs(value) * 0x1p-8F;
  return std::fabs(value) * 0x1p-11F + 0x1p-25F;
}

}  // namespace

bool IsCopy(const StoredValues& copy, const StoredValues& original) {
  if (!IsWeightDtype(copy.dtype) || !IsWeightDtype(original.dtype)) return false;
  if (copy.dtype == original.dtype) return copy.bytes == original.bytes;
  const size_t count = copy.bytes.size() / static_cast<size_t>(SizeOf(copy.dtype));
  if (original.bytes.size() / static_cast<size_t>(SizeOf(original.dtype)) != count) return false;
  for (size_t i = 0; i < count; ++i) {
    const float value = ValueAt(original, i);
    if (!(std::fabs(ValueAt(copy, i) - value) <= RoundingOf(value, copy.dtype))) return false;
  }
  return true;
}

}  // namespace trainerd::engine
