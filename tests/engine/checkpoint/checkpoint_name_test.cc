// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/checkpoint_name.h"

#include <gtest/gtest.h>

namespace trainerd::engine {
namespace {

TEST(CheckpointNameTest, RoundTrips) {
  EXPECT_EQ(CheckpointName({.step = 500, .attempt = 2}), "step-00000500-a2");
  EXPECT_EQ(CheckpointName({.step = 123456789, .attempt = 13}), "step-123456789-a13");
  for (const CheckpointId id :
       {CheckpointId{1, 1}, CheckpointId{99999999, 7}, CheckpointId{1000000000, 10}}) {
    const auto parsed = ParseCheckpointName(CheckpointName(id));
    ASSERT_TRUE(parsed.has_value());
    EXPECT_EQ(parsed->step, id.step);
    EXPECT_EQ(parsed->attempt, id.attempt);
  }
}

TEST(CheckpointNameTest, ParsesOnlyNamesThatItWrites) {
  for (const char* name :
       {"", "step-", "step-500-a2", "step-00000500", "step-00000500-a", "step-00000500-a2x",
        "step-0000050a-a2", "step-00000500-a02", ".tmp-a2-500", "xstep-00000500-a2"}) {
    EXPECT_FALSE(ParseCheckpointName(name).has_value()) << name;
  }
}

TEST(CheckpointNameTest, TemporaryNamesContainTheAttempt) {
  EXPECT_EQ(TemporaryName(3, "500"), ".tmp-a3-500");
  EXPECT_EQ(TemporaryAttempt(".tmp-a3-500"), 3);
  EXPECT_EQ(TemporaryAttempt(".tmp-a12-final"), 12);
  for (const char* name : {"", ".tmp-a", ".tmp-a3", ".tmp-ax-1", "tmp-a3-1", "step-00000500-a2"}) {
    EXPECT_FALSE(TemporaryAttempt(name).has_value()) << name;
  }
}

}  // namespace
}  // namespace trainerd::engine
