// SPDX-License-Identifier: Apache-2.0
// The element types of tensors in GGUF files: their layout, and their values as fp32. No LibTorch.
// Source: the GGUF specification (ggml, docs/gguf.md). Values and bytes equal those of PyPI gguf.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace trainerd::engine {

// The numbers of the format.
enum class GgufType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ6_K = 14,
  kBF16 = 30,
};

// A tensor's rows consist of blocks.
struct GgufTypeTraits {
  GgufType type;
  std::string_view name;
  int64_t block_elements;
  int64_t block_bytes;
};

// nullptr for a type that is not in GgufType.
const GgufTypeTraits* FindGgufType(uint32_t number);
const GgufTypeTraits& TraitsOf(GgufType type);
// "Q5_K (type 13)", for messages about any number; and the names of GgufType, "F32, F16, …".
std::string GgufTypeText(uint32_t number);
std::string SupportedGgufTypes();

// Bytes of `elements` elements, which is a multiple of block_elements.
int64_t GgufBytes(GgufType type, int64_t elements);

// `values` = the elements of `bytes`, which are whole blocks of exactly that many elements.
void Dequantize(GgufType type, std::string_view bytes, absl::Span<float> values);

// Appends `values` as elements of `type`, rounded to nearest; whole blocks. `type` is F32, F16,
// BF16 or Q8_0.
void Quantize(GgufType type, absl::Span<const float> values, std::string* bytes);

}  // namespace trainerd::engine
