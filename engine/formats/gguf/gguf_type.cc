// SPDX-License-Identifier: Apache-2.0
#include "engine/formats/gguf/gguf_type.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/formats/float_values.h"
#include "proto/base/status_macros.h"

namespace trainerd::engine {
namespace {

constexpr GgufTypeTraits kTypes[] = {
    {GgufType::kF32, "F32", 1, 4},       {GgufType::kF16, "F16", 1, 2},
    {GgufType::kQ4_0, "Q4_0", 32, 18},   {GgufType::kQ4_1, "Q4_1", 32, 20},
    {GgufType::kQ8_0, "Q8_0", 32, 34},   {GgufType::kQ4_K, "Q4_K", 256, 144},
    {GgufType::kQ6_K, "Q6_K", 256, 210}, {GgufType::kBF16, "BF16", 1, 2},
};

// Other types that files of models have.
struct OtherType {
  uint32_t number;
  std::string_view name;
};
constexpr OtherType kOtherTypes[] = {
    {6, "Q5_0"},    {7, "Q5_1"},     {10, "Q2_K"},  {11, "Q3_K"},   {13, "Q5_K"},  {16, "IQ2_XXS"},
    {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},
    {23, "IQ4_XS"}, {29, "IQ1_M"},   {34, "TQ1_0"}, {35, "TQ2_0"},  {39, "MXFP4"},
};

constexpr int64_t kBlock = 32;

uint16_t Load16(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }
float Half(const uint8_t* p) { return Fp16Value(Load16(p)); }

void DequantizeF32(const uint8_t* block, float* out) { std::memcpy(out, block, sizeof(*out)); }
void DequantizeF16(const uint8_t* block, float* out) { *out = Half(block); }
void DequantizeBF16(const uint8_t* block, float* out) { *out = Bf16Value(Load16(block)); }

// Scale; 16 bytes with elements i and i + 16 in the low and the high half.
void DequantizeQ4_0(const uint8_t* block, float* out) {
  const float scale = Half(block);
  for (int i = 0; i < 16; ++i) {
    const int bits = block[2 + i];
    out[i] = scale * static_cast<float>((bits & 0xf) - 8);
    out[i + 16] = scale * static_cast<float>((bits >> 4) - 8);
  }
}

// As Q4_0, with a minimum behind the scale.
void DequantizeQ4_1(const uint8_t* block, float* out) {
  const float scale = Half(block), minimum = Half(block + 2);
  for (int i = 0; i < 16; ++i) {
    const int bits = block[4 + i];
    out[i] = scale * static_cast<float>(bits & 0xf) + minimum;
    out[i + 16] = scale * static_cast<float>(bits >> 4) + minimum;
  }
}

void DequantizeQ8_0(const uint8_t* block, float* out) {
  const float scale = Half(block);
  for (int i = 0; i < kBlock; ++i)
    out[i] = scale * static_cast<float>(static_cast<int8_t>(block[2 + i]));
}

// Scale of scales, scale of minima; 12 bytes with a scale and a minimum of 6 bits for each of 8
// groups of 32 elements; 128 bytes, of which 32 have two groups in their halves.
void DequantizeQ4_K(const uint8_t* block, float* out) {
  const float scale = Half(block), minimum_scale = Half(block + 2);
  const uint8_t* packed = block + 4;
  const uint8_t* bits = block + 16;
  for (int group = 0; group < 8; ++group) {
    const int low = group % 4;
    // Those of the last four groups have their upper two bits in front of those of the first four.
    const int group_scale =
        group < 4 ? packed[low] & 0x3f : (packed[low + 8] & 0xf) | packed[low] >> 6 << 4;
    const int group_minimum =
        group < 4 ? packed[low + 4] & 0x3f : packed[low + 8] >> 4 | packed[low + 4] >> 6 << 4;
    const float factor = scale * static_cast<float>(group_scale);
    const float minimum = minimum_scale * static_cast<float>(group_minimum);
    const uint8_t* elements = bits + group / 2 * 32;
    for (int i = 0; i < 32; ++i) {
      const int element = group % 2 == 0 ? elements[i] & 0xf : elements[i] >> 4;
      const float product = factor * static_cast<float>(element);
      out[group * 32 + i] = product - minimum;
    }
  }
}

// 128 bytes with the lower four bits, 64 with the upper two, 16 scales of 16 elements each, and
// their scale. Each half of the block has four groups of 32 elements.
void DequantizeQ6_K(const uint8_t* block, float* out) {
  const float scale = Half(block + 208);
  for (int half = 0; half < 2; ++half) {
    const uint8_t* low = block + half * 64;
    const uint8_t* high = block + 128 + half * 32;
    const uint8_t* scales = block + 192 + half * 8;
    for (int group = 0; group < 4; ++group) {
      for (int i = 0; i < 32; ++i) {
        const int nibbles = low[group % 2 * 32 + i];
        const int element =
            (group < 2 ? nibbles & 0xf : nibbles >> 4) | ((high[i] >> (2 * group)) & 0x3) << 4;
        const float factor =
            scale * static_cast<float>(static_cast<int8_t>(scales[group * 2 + i / 16]));
        out[half * 128 + group * 32 + i] = factor * static_cast<float>(element - 32);
      }
    }
  }
}

using DequantizeBlock = void (*)(const uint8_t*, float*);

DequantizeBlock FunctionOf(GgufType type) {
  switch (type) {
    case GgufType::kF32:
      return DequantizeF32;
    case GgufType::kF16:
      return DequantizeF16;
    case GgufType::kBF16:
      return DequantizeBF16;
    case GgufType::kQ4_0:
      return DequantizeQ4_0;
    case GgufType::kQ4_1:
      return DequantizeQ4_1;
    case GgufType::kQ8_0:
      return DequantizeQ8_0;
    case GgufType::kQ4_K:
      return DequantizeQ4_K;
    case GgufType::kQ6_K:
      return DequantizeQ6_K;
  }
  return nullptr;
}

void Append16(uint16_t bits, std::string* bytes) {
  bytes->push_back(static_cast<char>(bits & 0xff));
  bytes->push_back(static_cast<char>(bits >> 8));
}

void QuantizeQ8_0(const float* values, std::string* bytes) {
  float largest = 0.0F;
  for (int i = 0; i < kBlock; ++i) largest = std::max(largest, std::fabs(values[i]));
  const float scale = largest / 127.0F;
  const float inverse = scale == 0.0F ? 0.0F : 1.0F / scale;
  Append16(Fp16Bits(scale), bytes);
  for (int i = 0; i < kBlock; ++i) {
    // Halves are rounded away from 0.
    const float rounded = std::round(values[i] * inverse);
    bytes->push_back(static_cast<char>(static_cast<int8_t>(std::clamp(rounded, -127.0F, 127.0F))));
  }
}

}  // namespace

const GgufTypeTraits* FindGgufType(uint32_t number) {
  const auto* found = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const auto& traits) {
    return static_cast<uint32_t>(traits.type) == number;
  });
  return found == std::end(kTypes) ? nullptr : found;
}

const GgufTypeTraits& TraitsOf(GgufType type) {
  const GgufTypeTraits* traits = FindGgufType(static_cast<uint32_t>(type));
  TRAINERD_CHECK(traits != nullptr);
  return *traits;
}

std::string GgufTypeText(uint32_t number) {
  std::string_view name;
  if (const GgufTypeTraits* traits = FindGgufType(number); traits != nullptr) name = traits->name;
  for (const OtherType& other : kOtherTypes) {
    if (other.number == number) name = other.name;
  }
  if (name.empty()) return absl::StrCat("type ", number);
  return absl::StrCat(std::string(name), " (type ", number, ")");
}

std::string SupportedGgufTypes() {
  return absl::StrJoin(kTypes, ", ", [](std::string* out, const GgufTypeTraits& traits) {
    out->append(traits.name);
  });
}

int64_t GgufBytes(GgufType type, int64_t elements) {
  const GgufTypeTraits& traits = TraitsOf(type);
  return elements / traits.block_elements * traits.block_bytes;
}

void Dequantize(GgufType type, std::string_view bytes, absl::Span<float> values) {
  const GgufTypeTraits& traits = TraitsOf(type);
  TRAINERD_CHECK(static_cast<int64_t>(values.size()) % traits.block_elements == 0);
  TRAINERD_CHECK(static_cast<int64_t>(bytes.size()) ==
                 GgufBytes(type, static_cast<int64_t>(values.size())));
  const DequantizeBlock dequantize = FunctionOf(type);
  const auto* block = reinterpret_cast<const uint8_t*>(bytes.data());
  for (float* out = values.begin(); out != values.end(); out += traits.block_elements) {
    dequantize(block, out);
    block += traits.block_bytes;
  }
}

void Quantize(GgufType type, absl::Span<const float> values, std::string* bytes) {
  switch (type) {
    case GgufType::kF32:
      bytes->append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
      return;
    case GgufType::kF16:
      for (const float value : values) Append16(Fp16Bits(value), bytes);
      return;
    case GgufType::kBF16:
      for (const float value : values) Append16(Bf16Bits(value), bytes);
      return;
    case GgufType::kQ8_0:
      TRAINERD_CHECK(values.size() % kBlock == 0);
      for (size_t i = 0; i < values.size(); i += kBlock) QuantizeQ8_0(values.data() + i, bytes);
      return;
    case GgufType::kQ4_0:
    case GgufType::kQ4_1:
    case GgufType::kQ4_K:
    case GgufType::kQ6_K:
      break;
  }
  TRAINERD_CHECK(false);
}

}  // namespace trainerd::engine
