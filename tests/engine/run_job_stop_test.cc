// SPDX-License-Identifier: Apache-2.0
// Whole jobs of a tiny model that are paused, stopped or discarded, or may not publish.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "engine/run_job.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using testing::Ran;
using testing::RunAttempt;
using testing::TinyJob;

TEST(RunJobStopTest, PauseBeforeFirstStepWritesNoCheckpoint) {
  TempDir folder;
  TinyJob job(folder);
  Ran ran;
  RunAttempt(job.Spec("run", 1), &ran, [](const v1::Event& event, RunControl& control) {
    if (event.stage().stage() == "LoadWeights") control.RequestStop(StopMode::kPause);
  });
  EXPECT_EQ(ran.record.end(), v1::Attempt::PAUSED_OK);
  EXPECT_FALSE(ran.record.has_last_checkpoint());
  EXPECT_TRUE(ran.events.Losses().empty());
}

TEST(RunJobStopTest, WritesRequestedCheckpointAtEndOfStep) {
  TempDir folder;
  TinyJob job(folder);
  Ran ran;
  std::vector<int64_t> published;
  RunAttempt(job.Spec("run", 1), &ran, [&](const v1::Event& event, RunControl& control) {
    if (event.metrics().step() == 5) control.RequestCheckpoint();
    if (event.checkpoint().kind() == v1::CheckpointEvent::PUBLISHED)
      published.push_back(event.checkpoint().checkpoint().step());
  });
  ASSERT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
  EXPECT_THAT(published, ElementsAre(5, 12));
}

TEST(RunJobStopTest, FinishesSaveFinalDespitePause) {
  TempDir folder;
  TinyJob job(folder);
  Ran ran;
  RunAttempt(job.Spec("run", 1), &ran, [](const v1::Event& event, RunControl& control) {
    if (event.stage().stage() == "SaveFinal" && !event.stage().finished())
      control.RequestStop(StopMode::kPause);
  });
  EXPECT_EQ(ran.record.end(), v1::Attempt::COMPLETED) << ran.record.error().message();
}

TEST(RunJobStopTest, PublishesNothingAfterDiscardDuringSaveFinal) {
  TempDir folder;
  TinyJob job(folder);
  const internal::AttemptSpec spec = job.Spec("run", 1);
  Ran ran;
  RunAttempt(spec, &ran, [](const v1::Event& event, RunControl& control) {
    if (event.stage().stage() == "SaveFinal" && !event.stage().finished())
      control.RequestStop(StopMode::kDiscard);
  });
  EXPECT_EQ(ran.record.end(), v1::Attempt::DISCARDED);
  EXPECT_FALSE(std::filesystem::exists(spec.run_dir() + "/final"));
}

TEST(RunJobStopTest, WritesNothingWithoutRightToPublish) {
  TempDir folder;
  TinyJob job(folder);
  const internal::AttemptSpec spec = job.Spec("run", 1);
  Ran ran;
  RunAttempt(spec, &ran, [&](const v1::Event& event, RunControl& control) {
    if (event.metrics().step() != 3) return;
    ASSERT_TRUE(WritePublisher(spec.run_dir(), 2).ok());
    control.RequestStop(StopMode::kStop);
  });
  ASSERT_EQ(ran.record.end(), v1::Attempt::FAILED);
  EXPECT_EQ(ran.record.error().code(), "FENCED");
  EXPECT_TRUE(std::filesystem::is_empty(spec.run_dir() + "/checkpoints"));
}

}  // namespace
}  // namespace trainerd::engine
