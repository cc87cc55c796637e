// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/progress.h"

#include <gtest/gtest.h>

namespace trainerd {
namespace {

TEST(ProgressTest, ClearsWhatAStepDidNotMeasureAndKeepsWhatDescribesTheJob) {
  v1::Progress progress;
  v1::Event event;
  event.mutable_time()->set_seconds(7);
  v1::Metrics& metrics = *event.mutable_metrics();
  metrics.set_step(1);
  metrics.set_total_steps(10);
  metrics.set_epoch(0.5);
  metrics.set_loss(2.5);
  metrics.set_tokens(100);
  metrics.set_tokens_per_second(50);
  ApplyToProgress(event, &progress);
  metrics.Clear();
  metrics.set_step(2);
  metrics.set_loss(2.25);
  metrics.set_tokens(60);
  ApplyToProgress(event, &progress);
  EXPECT_EQ(progress.step(), 2);
  EXPECT_EQ(progress.tokens(), 160);
  EXPECT_EQ(progress.loss(), 2.25);
  EXPECT_EQ(progress.total_steps(), 10);
  EXPECT_EQ(progress.epoch(), 0.5);
  EXPECT_EQ(progress.last_step_time().seconds(), 7);
  EXPECT_FALSE(progress.has_tokens_per_second());
}

TEST(ProgressTest, TakesTheStageThatBeganAndTheValidationLoss) {
  v1::Progress progress;
  v1::Event event;
  event.mutable_stage()->set_stage("Train");
  ApplyToProgress(event, &progress);
  event.mutable_stage()->set_stage("LoadWeights");
  event.mutable_stage()->set_finished(true);
  ApplyToProgress(event, &progress);
  EXPECT_EQ(progress.stage(), "Train");
  event.mutable_eval()->set_set("other");
  event.mutable_eval()->set_loss(9);
  ApplyToProgress(event, &progress);
  EXPECT_FALSE(progress.has_validation_loss());
  event.mutable_eval()->set_set("validation");
  ApplyToProgress(event, &progress);
  EXPECT_EQ(progress.validation_loss(), 9);
}

}  // namespace
}  // namespace trainerd
