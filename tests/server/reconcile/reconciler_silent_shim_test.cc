// SPDX-License-Identifier: Apache-2.0
// A shim that does not answer. The requests to it block until the test releases them, while every
// other request returns: a reconciler that waits for the silent shim runs into the time limit.
#include <thread>

#include "tests/server/reconcile/reconciler_fixture.h"

namespace trainerd::server {
namespace {

constexpr absl::Duration kTimeLimit = absl::Seconds(30);

class ReconcilerSilentShimTest : public ReconcilerTest {
 protected:
  ReconcilerSilentShimTest() {
    Crash();
    run_call_ = [this](std::function<void()> call) { RunCall(std::move(call)); };
    executor_.before_call = [this](const AttemptRef& attempt) { BlockIfSilent(attempt); };
    Start();
    std::vector<v1::Device> devices(2);
    devices[0].set_name("cpu");
    devices[1].set_name("cuda:0");
    devices_->Set(devices);
  }
  void TearDown() override {
    Release();
    ReconcilerTest::TearDown();
  }

  // Runs the call on a thread and waits until it has returned or is blocked.
  void RunCall(std::function<void()> call) {
    absl::MutexLock lock(&mutex_);
    ++unfinished_;
    threads_.emplace_back([this, call = std::move(call)] {
      call();
      absl::MutexLock lock(&mutex_);
      --unfinished_;
    });
    mutex_.Await(absl::Condition(
        +[](ReconcilerSilentShimTest* test) { return test->unfinished_ == test->blocked_; }, this));
  }
  void BlockIfSilent(const AttemptRef& attempt) {
    absl::MutexLock lock(&mutex_);
    if (attempt.job != silent_ || released_) return;
    ++blocked_;
    timed_out_ |= !mutex_.AwaitWithTimeout(absl::Condition(&released_), kTimeLimit);
    --blocked_;
  }
  // From now on the job's shim does not answer.
  void Silence(const std::string& job) {
    executor_.Newest(job).kind = Kind::kUnknown;
    {
      absl::MutexLock lock(&mutex_);
      silent_ = job;
    }
    clock_.Advance(absl::Seconds(1));  // its next observation is due
    Round();
    absl::MutexLock lock(&mutex_);
    ASSERT_EQ(blocked_, 1);
  }
  void Release() {
    {
      absl::MutexLock lock(&mutex_);
      released_ = true;
    }
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  bool TimedOut() {
    absl::MutexLock lock(&mutex_);
    return timed_out_;
  }
  std::string StartOn(const std::string& id, const std::string& device) {
    return StartRunning(id, "resources: {device: '" + device + "'}");
  }
  // Pauses the job; returns the rounds from the command to PAUSED.
  int RoundsToPause(const std::string& id) {
    const std::string name = "jobs/" + id;
    Checkpoint(id, 1);
    Round();
    Command(jobs_->Pause(Pause(id), "t"));
    int rounds = 0;
    const auto delivered = [&] {
      return !executor_.signals.empty() && executor_.signals.back().job == name;
    };
    for (; !delivered() && rounds < 100; ++rounds) Rounds(1);
    EXPECT_EQ(executor_.signals.back().action, internal::PAUSE);
    executor_.WorkerEnds(name, v1::Attempt::PAUSED_OK, 1);
    for (; Get(id).state() != Job::PAUSED && rounds < 100; ++rounds) Rounds(1);
    return rounds;
  }

  absl::Mutex mutex_;
  std::string silent_;
  bool released_ = false;
  bool timed_out_ = false;
  int unfinished_ = 0, blocked_ = 0;
  std::vector<std::thread> threads_;
};

TEST_F(ReconcilerSilentShimTest, PausesAnotherAttemptWithoutDelay) {
  StartOn("a", "cuda:0");
  StartOn("b", "cpu");
  Silence("jobs/a");
  // Without the silent shim: 2 to 5 rounds, depending on when the ingester drains the spool.
  EXPECT_LE(RoundsToPause("b"), 8);
  EXPECT_FALSE(TimedOut()) << "the reconciler waited for the silent shim";
  EXPECT_EQ(Get("a").state(), Job::RUNNING);
}

TEST_F(ReconcilerSilentShimTest, StartsAndFinishesOtherJobs) {
  StartOn("a", "cuda:0");
  Silence("jobs/a");
  const std::string name = StartOn("b", "cpu");
  Spool("b", {Step(1)});
  WriteFolder(RunDir("b") + "/final", "b", 1, 1, "", "final");
  executor_.WorkerEnds(name, v1::Attempt::COMPLETED, 1);
  ASSERT_TRUE(Until("b", Job::SUCCEEDED));
  EXPECT_FALSE(TimedOut()) << "the reconciler waited for the silent shim";
}

TEST_F(ReconcilerSilentShimTest, RaisesControlLostWhenTheRequestTimesOut) {
  StartOn("a", "cuda:0");
  Silence("jobs/a");
  EXPECT_FALSE(Active("a", "ControlLost")) << "the last observation holds until the next one";
  Release();
  Rounds(2);
  EXPECT_TRUE(Active("a", "ControlLost"));
}

}  // namespace
}  // namespace trainerd::server
