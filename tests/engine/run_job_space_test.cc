// SPDX-License-Identifier: Apache-2.0
// Whole jobs of a tiny model on a disk whose free space the test decides.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "absl/strings/str_cat.h"
#include "engine/run_job.h"
#include "proto/contract/job/plan/disk_use.h"
#include "tests/engine/train/tiny_run.h"

namespace trainerd::engine {
namespace {

using ::testing::ElementsAre;
using testing::FinalHash;
using ::testing::HasSubstr;
using testing::Ran;
using testing::RecordingSink;
using testing::RunAttempt;
using testing::TinyJob;

constexpr int64_t kPlenty = int64_t{1} << 40;

class RunJobSpaceTest : public ::testing::Test {
 protected:
  // The conditions as "active:REASON", in order.
  std::vector<std::string> Conditions() const {
    std::vector<std::string> found;
    for (const v1::Event& event : sink_.events()) {
      if (!event.has_condition_changed()) continue;
      const v1::Job::Condition& condition = event.condition_changed().condition();
      EXPECT_EQ(condition.type(), "DiskLow");
      found.push_back(absl::StrCat(condition.active() ? "active:" : "ended:", condition.reason()));
    }
    return found;
  }
  std::vector<int64_t> Published() const {
    std::vector<int64_t> steps;
    for (const v1::Event& event : sink_.events()) {
      if (event.checkpoint().kind() == v1::CheckpointEvent::PUBLISHED)
        steps.push_back(event.checkpoint().checkpoint().step());
    }
    return steps;
  }
  internal::WorkerExitRecord Run(const internal::AttemptSpec& spec) {
    sink_.on_event = [this](const v1::Event& event) {
      if (on_event_) on_event_(event);
    };
    return RunJob(spec, sink_, control_,
                  {.cache_folder = "",
                   .free_bytes = [this](const std::string&) -> absl::StatusOr<int64_t> {
                     if (on_check_) on_check_();
                     return free_.load();
                   },
                   .space_check_every = absl::Milliseconds(1)});
  }
  static bool IsPublished(const v1::Event& event) {
    return event.checkpoint().kind() == v1::CheckpointEvent::PUBLISHED;
  }

  TempDir folder_;
  TinyJob job_{folder_};
  RecordingSink sink_;
  RunControl control_;
  std::atomic<int64_t> free_{kPlenty};
  std::function<void(const v1::Event&)> on_event_;
  std::function<void()> on_check_;
};

TEST_F(RunJobSpaceTest, WaitsAtTheEndOfAStepAndContinuesByItself) {
  const internal::AttemptSpec reference = job_.Spec("reference", 1, "checkpoint: {every_steps: 4}");
  Ran uninterrupted;
  RunAttempt(reference, &uninterrupted);
  ASSERT_EQ(uninterrupted.record.end(), v1::Attempt::COMPLETED);

  int64_t size = 0;
  int checks = 0;
  on_event_ = [&](const v1::Event& event) {
    if (!IsPublished(event) || event.checkpoint().checkpoint().step() != 4) return;
    size = event.checkpoint().checkpoint().size_bytes();
    free_ = size + size / 8;
  };
  on_check_ = [&] {
    if (free_ < kPlenty && ++checks == 5) free_ = kPlenty;
  };
  const internal::AttemptSpec spec = job_.Spec("run", 1, "checkpoint: {every_steps: 4}");
  const internal::WorkerExitRecord record = Run(spec);
  ASSERT_EQ(record.end(), v1::Attempt::COMPLETED) << record.error().message();
  EXPECT_THAT(Conditions(), ElementsAre("active:WAITING", "ended:FREED"));
  EXPECT_EQ(checks, 5);
  EXPECT_THAT(Published(), ElementsAre(4, 8, 12));
  // Step 8 was applied before the wait, and no step during it.
  int64_t step = 0;
  for (const v1::Event& event : sink_.events()) {
    if (event.has_metrics()) step = event.metrics().step();
    if (!event.has_condition_changed()) continue;
    EXPECT_EQ(step, 8);
    if (event.condition_changed().condition().active()) {
      EXPECT_THAT(event.condition_changed().condition().message(), HasSubstr("of step 8, needs"));
    }
  }
  EXPECT_EQ(FinalHash(spec), FinalHash(reference)) << "the wait has no effect on the numbers";
}

TEST_F(RunJobSpaceTest, EndsBeforeTheFirstStepIfTheFirstCheckpointDoesNotFit) {
  free_ = 1000;
  const internal::WorkerExitRecord lacks = Run(job_.Spec("run", 1));
  EXPECT_EQ(lacks.end(), v1::Attempt::FAILED);
  EXPECT_EQ(lacks.error().code(), kDiskSpace);
  EXPECT_EQ(lacks.error().cause(), v1::JobError::STORAGE);
  EXPECT_TRUE(lacks.error().retryable());
  EXPECT_THAT(lacks.error().message(), HasSubstr("the first checkpoint needs"));
  EXPECT_THAT(lacks.error().message(), HasSubstr("1000 B are free"));
  EXPECT_EQ(lacks.last_step(), 0);
  for (const v1::Event& event : sink_.events()) EXPECT_FALSE(event.has_metrics());

  int64_t size = 0;
  on_event_ = [&](const v1::Event& event) {
    if (IsPublished(event)) size = event.checkpoint().checkpoint().size_bytes();
  };
  free_ = lacks.needed_bytes();
  const internal::WorkerExitRecord fits = Run(job_.Spec("run", 2));
  ASSERT_EQ(fits.end(), v1::Attempt::COMPLETED) << fits.error().message();
  EXPECT_EQ(fits.needed_bytes(), 0);
  EXPECT_GE(lacks.needed_bytes(), SpaceForCheckpoint(size) - kCheckpointMarginBytes);
  EXPECT_LE(lacks.needed_bytes(), SpaceForCheckpoint(size) + kCheckpointMarginBytes);
}

TEST_F(RunJobSpaceTest, TheFirstCheckpointWaitsIfTheDiskFillsMeanwhile) {
  std::string message;
  on_event_ = [&](const v1::Event& event) {
    if (event.metrics().step() == 2) free_ = 0;
    if (!event.condition_changed().condition().active()) return;
    message = event.condition_changed().condition().message();
    free_ = kPlenty;
  };
  ASSERT_EQ(Run(job_.Spec("run", 1, "checkpoint: {every_steps: 4}")).end(), v1::Attempt::COMPLETED);
  EXPECT_THAT(Conditions(), ElementsAre("active:WAITING", "ended:FREED"));
  EXPECT_THAT(message, HasSubstr("of step 4, needs"));
  EXPECT_THAT(message, HasSubstr("(1.2 times its expected size)"));
  EXPECT_THAT(Published(), ElementsAre(4, 8, 12));
}

TEST_F(RunJobSpaceTest, NeedsTheLastCheckpointAndAFifthMore) {
  on_event_ = [&](const v1::Event& event) {
    if (!IsPublished(event)) return;
    const int64_t size = event.checkpoint().checkpoint().size_bytes();
    free_ = SpaceForCheckpoint(size);
  };
  ASSERT_EQ(Run(job_.Spec("run", 1, "checkpoint: {every_steps: 4}")).end(), v1::Attempt::COMPLETED);
  EXPECT_TRUE(Conditions().empty());
}

TEST_F(RunJobSpaceTest, APauseEndsTheWait) {
  on_event_ = [&](const v1::Event& event) {
    if (IsPublished(event) && event.checkpoint().checkpoint().step() == 4) free_ = 0;
    if (event.condition_changed().condition().active()) control_.RequestStop(StopMode::kPause);
  };
  const internal::WorkerExitRecord record =
      Run(job_.Spec("run", 1, "checkpoint: {every_steps: 4}"));
  // The disk has space after all, so the checkpoint of the pause succeeds.
  EXPECT_EQ(record.end(), v1::Attempt::PAUSED_OK) << record.error().message();
  EXPECT_THAT(Conditions(), ElementsAre("active:WAITING", "ended:STOP_REQUESTED"));
  EXPECT_THAT(Published(), ElementsAre(4, 8));
}

TEST_F(RunJobSpaceTest, ADiscardEndsTheWaitWithoutACheckpoint) {
  on_event_ = [&](const v1::Event& event) {
    if (IsPublished(event)) free_ = 0;
    if (event.condition_changed().condition().active()) control_.RequestStop(StopMode::kDiscard);
  };
  const internal::WorkerExitRecord record =
      Run(job_.Spec("run", 1, "checkpoint: {every_steps: 4}"));
  EXPECT_EQ(record.end(), v1::Attempt::DISCARDED) << record.error().message();
  EXPECT_THAT(Published(), ElementsAre(4));
}

TEST_F(RunJobSpaceTest, ARequestedCheckpointWaitsToo) {
  on_event_ = [&](const v1::Event& event) {
    if (IsPublished(event) && event.checkpoint().checkpoint().step() == 4) {
      free_ = 0;
      control_.RequestCheckpoint();
    }
    if (event.condition_changed().condition().active()) free_ = kPlenty;
  };
  ASSERT_EQ(Run(job_.Spec("run", 1, "checkpoint: {every_steps: 4}")).end(), v1::Attempt::COMPLETED);
  EXPECT_THAT(Published(), ElementsAre(4, 5, 8, 12));
}

}  // namespace
}  // namespace trainerd::engine
