// SPDX-License-Identifier: Apache-2.0
// Bit patterns of IEEE 754 and of bfloat16.
#include "engine/formats/finite.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace trainerd::engine {
namespace {

template <typename T>
std::optional<int64_t> First(const std::vector<T>& values, StoredDtype dtype) {
  // At an odd address, as files may have it.
  std::string bytes(1 + values.size() * sizeof(T), '\0');
  std::copy_n(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T),
              bytes.data() + 1);
  return FirstNonFinite(std::string_view(bytes).substr(1), dtype);
}

TEST(FirstNonFiniteTest, FindsTheFirstNanAndInfinity) {
  std::vector<float> values(5000, std::numeric_limits<float>::max());
  EXPECT_EQ(First(values, StoredDtype::kFloat32), std::nullopt);
  values[4999] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(First(values, StoredDtype::kFloat32), 4999);
  values[1024] = std::nanf("");
  EXPECT_EQ(First(values, StoredDtype::kFloat32), 1024);
}

TEST(FirstNonFiniteTest, KnowsTheExponentsOfBothHalfFormats) {
  // 0x7c00 is infinity in float16 and a large number in bfloat16.
  EXPECT_EQ(First<uint16_t>({0x7bff, 0x7c00}, StoredDtype::kFloat16), 1);
  EXPECT_EQ(First<uint16_t>({0x7bff, 0x7c00, 0x7f7f, 0xff80}, StoredDtype::kBFloat16), 3);
  EXPECT_EQ(First<uint16_t>({0x7fc0}, StoredDtype::kBFloat16), 0);
  EXPECT_EQ(First<uint16_t>({}, StoredDtype::kBFloat16), std::nullopt);
}

}  // namespace
}  // namespace trainerd::engine
