// SPDX-License-Identifier: Apache-2.0
// Jobs that may not start yet: suspended, not_before.
#include "absl/strings/str_cat.h"
#include "tests/server/reconcile/reconciler_fixture.h"

namespace trainerd::server {
namespace {

class ReconcilerWaitsTest : public ReconcilerTest {
 protected:
  // The key with a time so long from now by the system's clock.
  std::string NotBefore(absl::Duration from_now) {
    return absl::FormatTime("not_before: %Y-%m-%dT%H:%M:%E*SZ\n", SystemClock()() + from_now,
                            absl::UTCTimeZone());
  }
  void Restart() {
    Crash();
    Start();
  }
};

TEST_F(ReconcilerWaitsTest, SuspendedJobStartsWhenItIsResumed) {
  Submit("a", "suspended: true");
  const Job job = Get("a");
  EXPECT_EQ(job.state(), Job::QUEUED);
  EXPECT_EQ(job.wait_reason(), Job::HELD);
  EXPECT_EQ(job.desired_state(), Job::DESIRED_PAUSE);
  Rounds(10);
  Restart();
  Rounds(10);
  EXPECT_EQ(Get("a").wait_reason(), Job::HELD);
  EXPECT_TRUE(executor_.launches.empty());
  Command(jobs_->Resume(Resume("a"), "t"));
  EXPECT_EQ(Get("a").wait_reason(), Job::RESOURCES);
  EXPECT_TRUE(Until("a", Job::STARTING));
}

TEST_F(ReconcilerWaitsTest, SuspendedJobCanBeStopped) {
  Submit("a", "suspended: true");
  Command(jobs_->Stop(Stop("a"), "t"));
  EXPECT_EQ(Get("a").state(), Job::CANCELLED);
}

TEST_F(ReconcilerWaitsTest, JobStartsAtItsTimeAndNotBefore) {
  Submit("a", NotBefore(absl::Seconds(60)));
  EXPECT_EQ(Get("a").wait_reason(), Job::NOT_BEFORE);
  EXPECT_EQ(FromProto(Get("a").not_before()), SystemClock()() + absl::Seconds(60));
  Rounds(20);
  EXPECT_EQ(Get("a").wait_reason(), Job::NOT_BEFORE);
  clock_.Advance(absl::Seconds(60));
  EXPECT_TRUE(Until("a", Job::STARTING));
  EXPECT_FALSE(Get("a").has_not_before());
}

TEST_F(ReconcilerWaitsTest, JobWhoseTimeHasPassedWaitsForADeviceOnly) {
  Submit("a", NotBefore(-absl::Hours(1)));
  EXPECT_EQ(Get("a").wait_reason(), Job::RESOURCES);
  EXPECT_FALSE(Get("a").has_not_before());
}

// The thread sleeps until then, not in steps.
TEST_F(ReconcilerWaitsTest, NextRoundIsDueAtTheTime) {
  Rounds(2);
  Submit("a", NotBefore(absl::Milliseconds(700)));
  EXPECT_EQ(reconciler_->Step(), clock_.Now() + absl::Milliseconds(700));
  Submit("b", NotBefore(absl::Milliseconds(300)));
  EXPECT_EQ(reconciler_->Step(), clock_.Now() + absl::Milliseconds(300));
}

TEST_F(ReconcilerWaitsTest, TimeThatPassesWhileTheDaemonIsDownCounts) {
  Submit("a", NotBefore(absl::Seconds(60)));
  Submit("b", NotBefore(absl::Hours(60)));
  Crash();
  clock_.Advance(absl::Seconds(61));
  Start();
  ASSERT_TRUE(Until("a", Job::STARTING));
  EXPECT_EQ(Get("b").wait_reason(), Job::NOT_BEFORE);
  EXPECT_TRUE(Get("b").has_not_before());
}

// It names a time of the day, so that it follows the system's clock, unlike every delay.
TEST_F(ReconcilerWaitsTest, TimeFollowsTheSystemsClock) {
  Submit("a", NotBefore(absl::Hours(2)));
  system_clock_shift_ = -absl::Hours(24);
  clock_.Advance(absl::Hours(3));
  Rounds(3);
  EXPECT_EQ(Get("a").wait_reason(), Job::NOT_BEFORE);
  system_clock_shift_ = absl::ZeroDuration();
  ASSERT_TRUE(Until("a", Job::STARTING));
}

TEST_F(ReconcilerWaitsTest, PauseAndSuspendedComeBeforeTheTime) {
  Submit("a", NotBefore(absl::Seconds(60)) + "suspended: true");
  Submit("b", NotBefore(absl::Seconds(60)));
  Command(jobs_->Pause(Pause("b"), "t"));
  for (const char* id : {"a", "b"}) {
    EXPECT_EQ(Get(id).wait_reason(), Job::HELD) << id;
    EXPECT_FALSE(Get(id).has_not_before()) << id;
    Command(jobs_->Resume(Resume(id), "t"));
    EXPECT_EQ(Get(id).wait_reason(), Job::NOT_BEFORE) << id;
    EXPECT_TRUE(Get(id).has_not_before()) << id;
    Command(jobs_->Pause(Pause(id), "t"));
  }
  clock_.Advance(absl::Seconds(61));
  Rounds(3);
  EXPECT_EQ(Get("a").wait_reason(), Job::HELD);
  Command(jobs_->Resume(Resume("a"), "t"));
  EXPECT_EQ(Get("a").wait_reason(), Job::RESOURCES);
  EXPECT_TRUE(Until("a", Job::STARTING));
}

TEST_F(ReconcilerWaitsTest, RetryOfAStartedJobKeepsItsDelay) {
  Submit("a", NotBefore(absl::Seconds(10)));
  clock_.Advance(absl::Seconds(11));
  ASSERT_TRUE(Until("a", Job::STARTING));
  executor_.WorkerCrashes("jobs/a");
  ASSERT_TRUE(Until("a", Job::QUEUED));
  EXPECT_EQ(Get("a").wait_reason(), Job::BACKOFF);
  Restart();
  EXPECT_EQ(Get("a").wait_reason(), Job::BACKOFF);
  clock_.Advance(absl::Minutes(6));
  EXPECT_TRUE(Until("a", Job::STARTING));
}

TEST_F(ReconcilerWaitsTest, ManyJobsOfOneTimeAreReleasedTogether) {
  missing_ = "worker";
  constexpr int kJobs = 200;
  for (int i = 0; i < kJobs; ++i) {
    AddJob(*store_, absl::StrCat("j", i), RunDir(absl::StrCat("j", i)),
           NotBefore(absl::Seconds(30)));
  }
  clock_.Advance(absl::Seconds(30));
  Round();
  for (int i = 0; i < kJobs; ++i)
    EXPECT_NE(Get(absl::StrCat("j", i)).wait_reason(), Job::NOT_BEFORE) << i;
}

// As if the machine had another device when the job was submitted.
TEST_F(ReconcilerWaitsTest, DeviceIsCheckedWhenTheWaitEnds) {
  AddJob(*store_, "a", RunDir("a"), NotBefore(absl::Seconds(30)) + "resources: {device: 'cuda:3'}");
  Rounds(3);
  EXPECT_EQ(Get("a").wait_reason(), Job::NOT_BEFORE);
  clock_.Advance(absl::Seconds(30));
  ASSERT_TRUE(Until("a", Job::FAILED));
  EXPECT_EQ(Get("a").error().code(), "DEVICE_NOT_FOUND");
}

}  // namespace
}  // namespace trainerd::server
