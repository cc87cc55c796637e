// SPDX-License-Identifier: Apache-2.0
#include "engine/formats/float_values.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace trainerd::engine {
namespace {

// Largest difference between `value` and its nearest neighbor in `dtype`: half a unit in the last
// place of 24, 8 or 11 bits, and of a subnormal fp16.
float RoundingOf(float value, StoredDtype dtype) {
  if (dtype == StoredDtype::kFloat32) return 0.0F;
  if (dtype == StoredDtype::kBFloat16) return std::fabs(value) * 0x1p-8F;
  return std::fabs(value) * 0x1p-11F + 0x1p-25F;
}

}  // namespace

// 1 sign bit, 5 bits of exponent, 10 bits of fraction.
float Fp16Value(uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1f, fraction = bits & 0x3ff;
  float value = exponent == 0x1f ? (fraction == 0 ? INFINITY : NAN)
                : exponent == 0  ? std::ldexp(static_cast<float>(fraction), -24)
                                 : std::ldexp(static_cast<float>(fraction + 0x400), exponent - 25);
  return (bits & 0x8000) != 0 ? -value : value;
}

float Bf16Value(uint16_t bits) {
  const uint32_t wide = uint32_t{bits} << 16;
  float value = 0;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

uint16_t Fp16Bits(float value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return static_cast<uint16_t>(sign | 0x7e00);
  // 65520 is halfway between the largest number and the next power of two.
  if (magnitude >= 65520.0F) return static_cast<uint16_t>(sign | 0x7c00);
  if (magnitude == 0.0F) return sign;
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  // The unit in the last place of the result, 2^unit; -24 for subnormal numbers.
  const int unit = std::max(exponent - 11, -24);
  const auto steps = static_cast<uint16_t>(std::nearbyint(std::ldexp(magnitude, -unit)));
  // Of a normal number, `steps` has the leading 1 that raises the exponent by one.
  return static_cast<uint16_t>(sign | (((unit + 24) << 10) + steps));
}

uint16_t Bf16Bits(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  // A quiet NaN, whatever the lower bits are.
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

float ValueAt(const StoredValues& values, size_t index) {
  if (values.dtype == StoredDtype::kFloat32) {
    float value = 0;
    std::memcpy(&value, values.bytes.data() + index * sizeof(value), sizeof(value));
    return value;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, values.bytes.data() + index * sizeof(bits), sizeof(bits));
  return values.dtype == StoredDtype::kFloat16 ? Fp16Value(bits) : Bf16Value(bits);
}

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
