// SPDX-License-Identifier: Apache-2.0
// Expectations: sums done by hand from the definitions in engine/monitor/README.md.
#include "engine/monitor/live_monitor.h"

#include <limits>

#include "gtest/gtest.h"

namespace trainerd::engine {
namespace {

StepMeasurement Step(int64_t step, int64_t tokens, double seconds) {
  return {.step = step,
          .loss = 2.0,
          .tokens = tokens,
          .target_tokens = tokens / 2,
          .step_seconds = seconds};
}

TEST(LiveMonitorTest, PassesMeasuredValuesOnAndLeavesOthersAbsent) {
  LiveMonitor monitor({.total_steps = 10});
  StepMeasurement measured = Step(3, 100, 0.5);
  measured.epoch = 0.25;
  const v1::Metrics metrics = monitor.OnStep(measured).metrics;
  EXPECT_EQ(metrics.step(), 3);
  EXPECT_EQ(metrics.total_steps(), 10);
  EXPECT_DOUBLE_EQ(metrics.epoch(), 0.25);
  EXPECT_DOUBLE_EQ(metrics.loss(), 2.0);
  EXPECT_EQ(metrics.tokens(), 100);
  EXPECT_EQ(metrics.target_tokens(), 50);
  EXPECT_DOUBLE_EQ(metrics.step_seconds(), 0.5);
  EXPECT_FALSE(metrics.has_grad_norm());
  EXPECT_FALSE(metrics.has_learning_rate());
  EXPECT_FALSE(metrics.has_memory_bytes());
  EXPECT_FALSE(metrics.has_memory_peak_bytes());
  EXPECT_FALSE(metrics.has_preference());
}

TEST(LiveMonitorTest, PassesMeansOverPairsOn) {
  LiveMonitor monitor({.total_steps = 10});
  StepMeasurement measured = Step(3, 100, 0.5);
  measured.preference.emplace().set_margin(0.5);
  EXPECT_EQ(monitor.OnStep(measured).metrics.preference().margin(), 0.5);
}

TEST(LiveMonitorTest, AveragesTokensOverSecondsWithoutTheFirstStep) {
  LiveMonitor monitor({.total_steps = 100});
  EXPECT_DOUBLE_EQ(monitor.OnStep(Step(1, 100, 10.0)).metrics.tokens_per_second(), 10.0);
  EXPECT_DOUBLE_EQ(monitor.OnStep(Step(2, 100, 1.0)).metrics.tokens_per_second(), 100.0);
  const v1::Metrics third = monitor.OnStep(Step(3, 300, 2.0)).metrics;
  EXPECT_DOUBLE_EQ(third.tokens_per_second(), (100 + 0.1 * 200) / (1.0 + 0.1 * 1.0));
  EXPECT_DOUBLE_EQ(third.eta_seconds(), 97 * 1.1);
}

TEST(LiveMonitorTest, TakesTheBaselineAtTheTwentiethStepOfTheAttempt) {
  LiveMonitor monitor({.total_steps = 0});
  // The attempt begins at step 501: the first steps of a resumed run must not be the baseline.
  int64_t step = 501;
  monitor.OnStep(Step(step++, 10, 1.0));
  std::vector<v1::Alert> alerts;
  for (int i = 0; i < 40; ++i) {
    for (const auto& alert : monitor.OnStep(Step(step++, 100, 1.0)).alerts) {
      if (alert.type() == "throughput_drop") alerts.push_back(alert);
    }
  }
  EXPECT_TRUE(alerts.empty());
  for (int i = 0; i < 40; ++i) {
    for (const auto& alert : monitor.OnStep(Step(step++, 100, 2.5)).alerts) {
      if (alert.type() == "throughput_drop") alerts.push_back(alert);
    }
  }
  ASSERT_EQ(alerts.size(), 1u);
  EXPECT_DOUBLE_EQ(alerts[0].threshold(), 60.0);
}

TEST(LiveMonitorTest, HasNoEtaWithoutATotal) {
  LiveMonitor monitor({.total_steps = 0});
  const v1::Metrics metrics = monitor.OnStep(Step(1, 10, 1.0)).metrics;
  EXPECT_FALSE(metrics.has_eta_seconds());
  EXPECT_FALSE(metrics.has_total_steps());
}

TEST(LiveMonitorTest, CountsTheOverheadOfTheStepItBelongsTo) {
  LiveMonitor monitor({.total_steps = 0});
  monitor.overhead().Add(0.25);
  EXPECT_GE(monitor.OnStep(Step(1, 10, 1.0)).metrics.monitor_overhead(), 0.25);
  EXPECT_LT(monitor.OnStep(Step(2, 10, 1.0)).metrics.monitor_overhead(), 0.25);
}

TEST(LiveMonitorTest, MeanLossIsOverTheAttemptsFiniteLosses) {
  LiveMonitor monitor({.total_steps = 0});
  EXPECT_FALSE(monitor.mean_loss().has_value());
  StepMeasurement measured = Step(1, 10, 1.0);
  for (const double loss : {1.0, 4.0, std::numeric_limits<double>::infinity()}) {
    measured.loss = loss;
    monitor.OnStep(measured);
  }
  EXPECT_DOUBLE_EQ(*monitor.mean_loss(), 2.5);
}

}  // namespace
}  // namespace trainerd::engine
