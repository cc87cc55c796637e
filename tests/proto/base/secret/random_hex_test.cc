// SPDX-License-Identifier: Apache-2.0
#include "proto/base/secret/random_hex.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace trainerd {
namespace {

TEST(RandomHexTest, HasTheLengthAndNeverRepeats) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const auto text = RandomHex(16);
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_EQ(text->size(), 32u);
    EXPECT_EQ(text->find_first_not_of("0123456789abcdef"), std::string::npos) << *text;
    EXPECT_TRUE(seen.insert(*text).second) << *text;
  }
}

}  // namespace
}  // namespace trainerd
