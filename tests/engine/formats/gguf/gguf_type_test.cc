// SPDX-License-Identifier: Apache-2.0
// Values and bytes of GGUF types are those of PyPI gguf, bit for bit (tests/golden/formats).
#include "engine/formats/gguf/gguf_type.h"

#include <cmath>
#include <cstring>

#include "engine/formats/float_values.h"
#include "tests/engine/formats/gguf/gguf_golden.h"

namespace trainerd::engine {
namespace {

std::string BytesOf(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

std::vector<float> ValuesOf(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

class DequantizeTest : public ::testing::TestWithParam<GgufType> {};

TEST_P(DequantizeTest, GivesTheValuesOfTheReference) {
  const GgufTypeTraits& traits = TraitsOf(GetParam());
  const nlohmann::json golden = GgufGolden()["dequantized"][std::string(traits.name)];
  const std::string bytes = FromHex(golden["bytes"]);
  const std::string expected = FromHex(golden["values"]);
  std::vector<float> values(expected.size() / sizeof(float));
  ASSERT_FALSE(values.empty());
  ASSERT_EQ(GgufBytes(GetParam(), static_cast<int64_t>(values.size())),
            static_cast<int64_t>(bytes.size()));
  Dequantize(GetParam(), bytes, absl::MakeSpan(values));
  EXPECT_EQ(BytesOf(values), expected);
}

INSTANTIATE_TEST_SUITE_P(Types, DequantizeTest,
                         ::testing::Values(GgufType::kF16, GgufType::kBF16, GgufType::kQ4_0,
                                           GgufType::kQ4_1, GgufType::kQ8_0, GgufType::kQ4_K,
                                           GgufType::kQ6_K));

TEST(QuantizeTest, GivesTheBytesOfTheReference) {
  const nlohmann::json golden = GgufGolden()["quantized"];
  const std::vector<float> values = ValuesOf(FromHex(golden["values"]));
  for (const GgufType type : {GgufType::kF32, GgufType::kBF16, GgufType::kQ8_0}) {
    const std::string name(TraitsOf(type).name);
    std::string bytes = "kept";
    Quantize(type, values, &bytes);
    EXPECT_EQ(bytes, "kept" + FromHex(golden[name])) << name;
  }
  const nlohmann::json half = GgufGolden()["float16"];
  std::string bytes;
  Quantize(GgufType::kF16, ValuesOf(FromHex(half["values"])), &bytes);
  EXPECT_EQ(bytes, FromHex(half["bits"]));
}

TEST(Fp16Test, RoundsAsTheReference) {
  const nlohmann::json golden = GgufGolden()["float16"];
  const std::vector<float> values = ValuesOf(FromHex(golden["values"]));
  const std::string bits = FromHex(golden["bits"]);
  ASSERT_EQ(values.size() * 2, bits.size());
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t expected = 0;
    std::memcpy(&expected, bits.data() + 2 * i, sizeof(expected));
    EXPECT_EQ(Fp16Bits(values[i]), expected) << values[i];
  }
}

TEST(Fp16Test, KeepsEveryNumber) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    if (std::isnan(Fp16Value(half))) {
      EXPECT_TRUE(std::isnan(Fp16Value(Fp16Bits(Fp16Value(half)))));
    } else {
      ASSERT_EQ(Fp16Bits(Fp16Value(half)), half);
    }
    if (!std::isnan(Bf16Value(half))) {
      ASSERT_EQ(Bf16Bits(Bf16Value(half)), half);
    }
  }
  EXPECT_TRUE(std::isnan(Bf16Value(Bf16Bits(std::nanf("")))));
}

TEST(GgufTypeTest, NamesTypesThatAreNotRead) {
  EXPECT_EQ(FindGgufType(13), nullptr);
  EXPECT_EQ(GgufTypeText(13), "Q5_K (type 13)");
  EXPECT_EQ(GgufTypeText(12), "Q4_K (type 12)");
  EXPECT_EQ(GgufTypeText(999), "type 999");
}

}  // namespace
}  // namespace trainerd::engine
