// SPDX-License-Identifier: Apache-2.0
// The probe over a fake executor. The test runs the calls itself, so that it decides when a shim
// answers.
#include "server/runs/attempt_probe.h"

#include <deque>

#include "gtest/gtest.h"
#include "tests/server/runs/fake_executor.h"

namespace trainerd::server {
namespace {

using Kind = Observation::Kind;

class CountingExecutor : public FakeExecutor {
 public:
  Observation Observe(const AttemptRef& attempt) override {
    ++observed;
    if (during_observe) during_observe();
    return FakeExecutor::Observe(attempt);
  }
  absl::Status Signal(const AttemptRef& attempt, internal::RequestedAction action,
                      absl::Duration grace) override {
    EXPECT_TRUE(FakeExecutor::Signal(attempt, action, grace).ok());
    if (during_signal) during_signal();
    return signal_status;
  }
  int observed = 0;
  std::function<void()> during_observe, during_signal;
  absl::Status signal_status;
};

class AttemptProbeTest : public ::testing::Test {
 protected:
  AttemptProbeTest() { Seen().kind = Kind::kRunning; }

  Observation& Seen() { return executor_.observations[{"jobs/a", 1}]; }
  // Runs the calls that wait.
  void RunCalls() {
    while (!calls_.empty()) {
      const std::function<void()> call = std::move(calls_.front());
      calls_.pop_front();
      call();
    }
  }

  CountingExecutor executor_;
  std::deque<std::function<void()>> calls_;
  int wakes_ = 0;
  std::shared_ptr<AttemptProbe> probe_ = std::make_shared<AttemptProbe>(
      executor_, AttemptRef{.job = "jobs/a", .attempt = 1, .run_dir = "/runs/a"},
      [this](std::function<void()> call) { calls_.push_back(std::move(call)); },
      [this] { ++wakes_; });
};

TEST_F(AttemptProbeTest, ReturnsBeforeTheExecutorIsCalled) {
  probe_->RequestObservation();
  probe_->RequestDelivery(internal::PAUSE, absl::Seconds(5));
  EXPECT_EQ(executor_.observed, 0);
  EXPECT_TRUE(executor_.signals.empty());
  EXPECT_FALSE(probe_->TakeObservation().has_value());
  EXPECT_FALSE(probe_->TakeDelivery().has_value());
}

TEST_F(AttemptProbeTest, ReturnsEachResultOnce) {
  probe_->RequestObservation();
  probe_->RequestDelivery(internal::PAUSE, absl::Seconds(5));
  RunCalls();
  ASSERT_EQ(executor_.signals.size(), 1u);
  EXPECT_EQ(executor_.signals[0].grace, absl::Seconds(5));
  EXPECT_EQ(probe_->TakeObservation()->kind, Kind::kRunning);
  EXPECT_EQ(probe_->TakeDelivery()->action, internal::PAUSE);
  EXPECT_FALSE(probe_->TakeObservation().has_value());
  EXPECT_FALSE(probe_->TakeDelivery().has_value());
}

TEST_F(AttemptProbeTest, ObservesAgainWhenRequestedDuringAnObservation) {
  executor_.during_observe = [this] {
    if (executor_.observed > 1) return;
    probe_->RequestObservation();
    probe_->RequestObservation();
    EXPECT_TRUE(calls_.empty()) << "one call at a time";
  };
  probe_->RequestObservation();
  RunCalls();
  EXPECT_EQ(executor_.observed, 2);
}

TEST_F(AttemptProbeTest, WakesOnlyWhenTheKindChanges) {
  for (int i = 0; i < 3; ++i) {
    probe_->RequestObservation();
    RunCalls();
  }
  EXPECT_EQ(wakes_, 1);
  Seen().kind = Kind::kExited;
  probe_->RequestObservation();
  RunCalls();
  EXPECT_EQ(wakes_, 2);
}

TEST_F(AttemptProbeTest, WakesForADeliveryButNotForAFailedOne) {
  executor_.signal_status = absl::UnavailableError("no answer");
  probe_->RequestDelivery(internal::STOP, absl::ZeroDuration());
  RunCalls();
  EXPECT_EQ(wakes_, 0);
  EXPECT_EQ(probe_->TakeDelivery()->status, executor_.signal_status);
  executor_.signal_status = absl::OkStatus();
  probe_->RequestDelivery(internal::STOP, absl::ZeroDuration());
  RunCalls();
  EXPECT_EQ(wakes_, 1);
  EXPECT_TRUE(probe_->TakeDelivery()->status.ok());
}

TEST_F(AttemptProbeTest, DeliversANewActionAfterTheOneInProgressAndNoActionTwice) {
  executor_.during_signal = [this] {
    if (executor_.signals.size() > 1) return;
    probe_->RequestDelivery(internal::DISCARD, absl::ZeroDuration());  // in progress already
    probe_->RequestDelivery(internal::KILL, absl::ZeroDuration());
  };
  probe_->RequestDelivery(internal::STOP, absl::ZeroDuration());
  probe_->RequestDelivery(internal::DISCARD, absl::ZeroDuration());
  RunCalls();
  ASSERT_EQ(executor_.signals.size(), 2u);
  EXPECT_EQ(executor_.signals[0].action, internal::DISCARD) << "replaces STOP, which had not begun";
  EXPECT_EQ(executor_.signals[1].action, internal::KILL);
}

TEST_F(AttemptProbeTest, LivesUntilItsCallReturns) {
  probe_->RequestObservation();
  const std::weak_ptr<AttemptProbe> probe = probe_;
  probe_.reset();
  EXPECT_FALSE(probe.expired());
  RunCalls();
  EXPECT_TRUE(probe.expired());
  EXPECT_EQ(executor_.observed, 1);
}

}  // namespace
}  // namespace trainerd::server
