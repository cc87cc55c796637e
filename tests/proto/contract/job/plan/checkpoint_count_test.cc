// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/plan/checkpoint_count.h"

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

TEST(CheckpointCountTest, CountsTheBestOnesAndThoseOfTheLongInterval) {
  v1::JobConfig config = Config(100, 3);
  config.mutable_checkpoint()->set_keep_every_steps(1000);
  EXPECT_EQ(CheckpointsAtOnce(config, 10'000), 14);
  config.mutable_checkpoint()->set_keep_best(5);
  EXPECT_EQ(CheckpointsAtOnce(config, 10'000), 14) << "nothing says what best means";
  config.mutable_evaluation()->mutable_best()->set_metric("remote.r.acc");
  EXPECT_EQ(CheckpointsAtOnce(config, 10'000), 19);
  config.mutable_checkpoint()->set_keep_best(0);
  EXPECT_EQ(CheckpointsAtOnce(config, 10'000), 15) << "the best one is always kept";
}

TEST(CheckpointCountTest, CountsThoseThatEvaluationsWrite) {
  v1::JobConfig config = Config(0, 3);
  config.mutable_evaluation()->mutable_best()->set_metric("eval.validation.loss");
  config.mutable_evaluation()->set_every_steps(100);
  EXPECT_EQ(CheckpointsAtOnce(config, 200), 2);
  EXPECT_EQ(CheckpointsAtOnce(config, 10'000), 5);
  config.mutable_evaluation()->mutable_best()->set_metric("remote.r.acc");
  EXPECT_EQ(CheckpointsAtOnce(config, 10'000), 1) << "the worker writes none for it";
}

}  // namespace
}  // namespace trainerd
