// SPDX-License-Identifier: Apache-2.0
// Expectations: misspellings that people make, and words that must not be suggested.
#include "proto/contract/config/advice/nearest_word.h"

#include <gtest/gtest.h>

namespace trainerd {
namespace {

const std::vector<std::string>& Keys() {
  static const std::vector<std::string>& keys =
      *new std::vector<std::string>{"learning_rate", "betas", "eps", "weight_decay", "type"};
  return keys;
}

TEST(NearestWordTest, FindsMisspellings) {
  EXPECT_EQ(NearestWord("lerning_rate", Keys()), "learning_rate");
  EXPECT_EQ(NearestWord("learning-rate", Keys()), "learning_rate");
  EXPECT_EQ(NearestWord("Learning_Rate", Keys()), "learning_rate");
  EXPECT_EQ(NearestWord("beats", Keys()), "betas");
  EXPECT_EQ(NearestWord("wieght_decay", Keys()), "weight_decay");
  EXPECT_EQ(NearestWord("ep", Keys()), "eps");
}

TEST(NearestWordTest, SuggestsNothingForOtherWords) {
  EXPECT_EQ(NearestWord("momentum", Keys()), "");
  EXPECT_EQ(NearestWord("", Keys()), "");
  EXPECT_EQ(NearestWord("lr", Keys()), "");
  EXPECT_EQ(NearestWord(std::string(1 << 20, 'e'), Keys()), "");
  EXPECT_EQ(NearestWord("eps", {}), "");
}

TEST(NearestWordTest, TakesTheNearestAndOfEqualsTheFirst) {
  EXPECT_EQ(NearestWord("max_step", {"max_sleep", "max_steps"}), "max_steps");
  EXPECT_EQ(NearestWord("cat", {"bat", "hat"}), "bat");
}

}  // namespace
}  // namespace trainerd
