// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/checkpoint_count.h"

#include <gtest/gtest.h>

namespace trainerd {
namespace {

v1::JobConfig Config(int64_t every_steps, int32_t keep_last) {
  v1::JobConfig config;
  config.mutable_checkpoint()->set_every_steps(every_steps);
  config.mutable_checkpoint()->set_keep_last(keep_last);
  return config;
}

TEST(CheckpointCountTest, CountsTheKeptOnesAndTheOneInProgress) {
  EXPECT_EQ(CheckpointsAtOnce(Config(100, 3), std::nullopt), 4);
  EXPECT_EQ(CheckpointsAtOnce(Config(100, 3), 100'000), 4);
}

TEST(CheckpointCountTest, CountsNoMoreThanTheJobWrites) {
  EXPECT_EQ(CheckpointsAtOnce(Config(100, 3), 200), 2);
  EXPECT_EQ(CheckpointsAtOnce(Config(100, 3), 201), 3);
  EXPECT_EQ(CheckpointsAtOnce(Config(100, 3), 5), 1);
  EXPECT_EQ(CheckpointsAtOnce(Config(0, 3), 5000), 1) << "only at the end";
  v1::JobConfig config = Config(100, 3);
  config.mutable_train()->set_max_steps(150);
  EXPECT_EQ(CheckpointsAtOnce(config, std::nullopt), 2);
  EXPECT_EQ(CheckpointsAtOnce(config, 300), 3);
}

}  // namespace
}  // namespace trainerd
