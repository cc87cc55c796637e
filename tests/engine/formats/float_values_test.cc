// SPDX-License-Identifier: Apache-2.0
// Expectations: IEEE 754 binary16 and bfloat16 bit patterns with their values by definition.
#include "engine/formats/float_values.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace trainerd::engine {
namespace {

template <typename T>
StoredValues Values(const std::vector<T>& values, StoredDtype dtype) {
  return {{reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)}, dtype};
}

TEST(FloatValuesTest, ComparesAcrossDtypes) {
  // 1, -2, 2^-24 (the least subnormal fp16), 65504.
  const std::vector<float> wide = {1.0F, -2.0F, 0x1p-24F, 65504.0F};
  const std::vector<uint16_t> half = {0x3c00, 0xc000, 0x0001, 0x7bff};
  EXPECT_TRUE(IsCopy(Values(half, StoredDtype::kFloat16), Values(wide, StoredDtype::kFloat32)));
  EXPECT_TRUE(IsCopy(Values(wide, StoredDtype::kFloat32), Values(half, StoredDtype::kFloat16)));
  const std::vector<uint16_t> brain = {0x3f80, 0xc000, 0x3380, 0x4780};  // 65536 = rounded 65504
  EXPECT_TRUE(IsCopy(Values(brain, StoredDtype::kBFloat16), Values(wide, StoredDtype::kFloat32)));
  EXPECT_TRUE(IsCopy(Values(brain, StoredDtype::kBFloat16), Values(half, StoredDtype::kFloat16)));
  EXPECT_FALSE(IsCopy(Values(wide, StoredDtype::kFloat32), Values(brain, StoredDtype::kBFloat16)))
      << "a wider copy is exact";
}

TEST(FloatValuesTest, FindsADifference) {
  const std::vector<float> a = {1.0F, 2.0F}, b = {1.0F, 2.0000002F}, c = {1.0F};
  EXPECT_TRUE(IsCopy(Values(a, StoredDtype::kFloat32), Values(a, StoredDtype::kFloat32)));
  EXPECT_FALSE(IsCopy(Values(a, StoredDtype::kFloat32), Values(b, StoredDtype::kFloat32)));
  EXPECT_FALSE(IsCopy(Values(a, StoredDtype::kFloat32), Values(c, StoredDtype::kFloat32)));
  // 2 and 2.0156: one unit in the last place of bf16 apart.
  const std::vector<uint16_t> near = {0x3f80, 0x4001}, nan = {0x3f80, 0x7fc0};
  EXPECT_FALSE(IsCopy(Values(near, StoredDtype::kBFloat16), Values(a, StoredDtype::kFloat32)));
  EXPECT_FALSE(IsCopy(Values(nan, StoredDtype::kBFloat16), Values(a, StoredDtype::kFloat32)));
  EXPECT_FALSE(IsCopy(Values(near, StoredDtype::kFloat16), Values(c, StoredDtype::kFloat32)));
  EXPECT_FALSE(IsCopy(Values(std::vector<int32_t>{1}, StoredDtype::kInt32),
                      Values(std::vector<int32_t>{1}, StoredDtype::kInt32)));
}

}  // namespace
}  // namespace trainerd::engine
