// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/plan/steps_left.h"

#include <gtest/gtest.h>

namespace trainerd {
namespace {

TEST(NoStepLeftTextTest, AdvisesWhatMakesTheJobLonger) {
  v1::JobConfig config;
  config.mutable_train()->set_epochs(2);
  EXPECT_EQ(NoStepLeftText(config, "jobs/a/checkpoints/b", 30, 30),
            "jobs/a/checkpoints/b is of step 30 and the job ends at step 30, so no step is left; "
            "raise train.epochs, or set train.max_steps, or train a new job from its weights with "
            "init_from.state=weights");
  config.mutable_train()->set_max_steps(20);
  EXPECT_EQ(NoStepLeftText(config, "/c", 30, 20),
            "/c is of step 30 and the job ends at step 20, so no step is left; raise "
            "train.max_steps, or replace it by a larger train.epochs, or train a new job from its "
            "weights with init_from.state=weights");
}

}  // namespace
}  // namespace trainerd
