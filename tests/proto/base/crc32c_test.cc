// SPDX-License-Identifier: Apache-2.0
// Expectations: RFC 3720, B.4, and a bit-by-bit division that shares nothing with the
// implementation.
#include "proto/base/crc32c.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace trainerd {
namespace {

uint32_t BitByBit(const std::string& data) {
  uint32_t crc = 0xffffffffu;
  for (const unsigned char byte : data) {
    for (int bit = 0; bit < 8; ++bit) {
      const bool feedback = ((crc ^ (byte >> bit)) & 1) != 0;
      crc = (crc >> 1) ^ (feedback ? 0x82f63b78u : 0);
    }
  }
  return ~crc;
}

TEST(Crc32cTest, MatchesRfc3720) {
  std::string ascending(32, '\0');
  for (int i = 0; i < 32; ++i) ascending[i] = static_cast<char>(i);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(Crc32c(ascending), 0x46dd794eu);
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST(Crc32cTest, MatchesTablesAtEveryLengthAndAlignment) {
  std::mt19937 random(7);
  std::string data(300, '\0');
  for (char& c : data) c = static_cast<char>(random());
  for (size_t start = 0; start < 9; ++start) {
    for (size_t size = 0; size + start <= data.size(); size += size < 40 ? 1 : 13) {
      const std::string part = data.substr(start, size);
      const std::string_view in_place = std::string_view(data).substr(start, size);
      const uint32_t expected = BitByBit(part);
      ASSERT_EQ(Crc32cByTable(in_place), expected) << start << " " << size;
      ASSERT_EQ(Crc32c(in_place), expected) << start << " " << size;
    }
  }
}

}  // namespace
}  // namespace trainerd
