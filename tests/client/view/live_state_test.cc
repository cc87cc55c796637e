// SPDX-License-Identifier: Apache-2.0
// Expectations follow from the order of events: a later attempt repeats the steps after its
// checkpoint.
#include "client/view/live_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trainerd::client {
namespace {

using ::testing::ElementsAre;

TEST(LossHistoryTest, ReplacesStepsThatALaterAttemptRepeats) {
  LossHistory history;
  for (int step = 1; step <= 5; ++step) history.Add(step, 10.0 - step);
  history.Add(4, 60);
  history.Add(5, 50);
  EXPECT_THAT(history.losses(), ElementsAre(9, 8, 7, 60, 50));
}

TEST(LossHistoryTest, StaysBoundedAndKeepsItsShape) {
  LossHistory history;
  for (int step = 1; step <= 100000; ++step) history.Add(step, 100000 - step);
  EXPECT_LE(history.losses().size(), 4096u);
  EXPECT_GT(history.losses().size(), 1000u);
  for (size_t i = 1; i < history.losses().size(); ++i)
    EXPECT_LT(history.losses()[i], history.losses()[i - 1]);
}

TEST(LiveStateTest, HistoryDoesNotChangeTheJob) {
  LiveState state;
  v1::Job job;
  job.set_name("jobs/a");
  job.set_state(v1::Job::SUCCEEDED);
  job.mutable_progress()->set_step(9);
  state.SetSnapshot(job);
  v1::Event event;
  event.set_job("jobs/a");
  event.mutable_metrics()->set_step(3);
  event.mutable_metrics()->set_loss(2.5);
  state.ApplyHistory(event);
  event.mutable_state_changed()->set_to_state(v1::Job::QUEUED);
  state.ApplyHistory(event);
  EXPECT_EQ(state.Find("jobs/a")->job.state(), v1::Job::SUCCEEDED);
  EXPECT_EQ(state.Find("jobs/a")->job.progress().step(), 9);
  EXPECT_THAT(state.Find("jobs/a")->losses.losses(), ElementsAre(2.5));
}

TEST(LiveStateTest, ClearsAValueThatAStepDidNotMeasure) {
  LiveState state;
  v1::Event event;
  event.set_job("jobs/a");
  event.mutable_metrics()->set_step(1);
  event.mutable_metrics()->set_loss(2.5);
  event.mutable_metrics()->set_tokens_per_second(100);
  state.Apply(event);
  event.mutable_metrics()->set_step(2);
  event.mutable_metrics()->clear_tokens_per_second();
  state.Apply(event);
  EXPECT_FALSE(state.Find("jobs/a")->job.progress().has_tokens_per_second());
  EXPECT_TRUE(state.Find("jobs/a")->job.progress().has_loss());
}

TEST(LiveStateTest, ClearsAlertsWhenAnAttemptStarts) {
  LiveState state;
  v1::Event event;
  event.set_job("jobs/a");
  event.mutable_alert()->set_type("plateau");
  event.mutable_alert()->set_active(true);
  state.Apply(event);
  EXPECT_EQ(state.Find("jobs/a")->alerts.size(), 1u);
  event.mutable_state_changed()->set_to_state(v1::Job::STARTING);
  event.mutable_state_changed()->set_attempt(2);
  state.Apply(event);
  EXPECT_TRUE(state.Find("jobs/a")->alerts.empty());
  EXPECT_EQ(state.Find("jobs/a")->job.attempt(), 2);
}

TEST(LiveStateTest, ANoticeOfTheDaemonIsOfNoJob) {
  LiveState state;
  v1::Event event;
  event.mutable_notice()->set_code("CERTIFICATE_MISMATCH");
  state.Apply(event);
  EXPECT_EQ(state.Find(""), nullptr);
}

}  // namespace
}  // namespace trainerd::client
