// SPDX-License-Identifier: Apache-2.0
#include "proto/base/hex.h"

#include <gtest/gtest.h>

#include <string>

#include "proto/base/hash.h"

namespace trainerd {
namespace {

TEST(HexTest, ReadsBothCases) {
  EXPECT_EQ(FromHex(""), "");
  EXPECT_EQ(FromHex("000fa0ff"), std::string("\x00\x0f\xa0\xff", 4));
  EXPECT_EQ(FromHex("AbCdeF90"), FromHex("abcdef90"));
}

TEST(HexTest, IsTheInverseOfToHex) {
  std::string bytes;
  for (int value = 0; value < 256; ++value) bytes.push_back(static_cast<char>(value));
  EXPECT_EQ(FromHex(ToHex(bytes)), bytes);
}

TEST(HexTest, RefusesWhatIsNotHexadecimal) {
  for (const char* text :
       {"0", "abc", "0g", "g0", " 00", "0x", "00 ", "-1", "\xc3\xa4", "@@", "``", "//", "::"}) {
    EXPECT_EQ(FromHex(text), std::nullopt) << text;
  }
  EXPECT_EQ(FromHex(std::string("0\0", 2)), std::nullopt);
}

}  // namespace
}  // namespace trainerd
