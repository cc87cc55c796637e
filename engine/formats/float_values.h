// SPDX-License-Identifier: Apache-2.0
// The values of stored floating-point tensors, whatever their dtypes. No LibTorch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/formats/safetensors.h"

namespace trainerd::engine {

// A tensor's bytes in row-major order.
struct StoredValues {
  std::string_view bytes;
  StoredDtype dtype = StoredDtype::kFloat32;
};

// The value of an fp16 (IEEE 754 binary16) or bf16 number.
float Fp16Value(uint16_t bits);
float Bf16Value(uint16_t bits);
// The nearest number, ties to even; beyond the largest one, infinity. A NaN stays one.
uint16_t Fp16Bits(float value);
uint16_t Bf16Bits(float value);

// Element `index` of a tensor of dtype F32, BF16 or F16.
float ValueAt(const StoredValues& values, size_t index);

// Whether `copy` holds the values of `original`, rounded to nearest where its dtype is narrower.
// False for a dtype other than F32, BF16 and F16.
bool IsCopy(const StoredValues& copy, const StoredValues& original);

}  // namespace trainerd::engine
