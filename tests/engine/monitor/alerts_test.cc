// SPDX-License-Identifier: Apache-2.0
// Expectations: the table of engine/monitor/README.md, each alert raised and cleared once.
#include "engine/monitor/alerts.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"

namespace trainerd::engine {
namespace {

StepMeasurement At(int64_t step, double loss) {
  return {.step = step, .loss = loss, .grad_norm = 1.0, .learning_rate = 1e-4};
}

// Steps with these losses; the alerts of all of them.
std::vector<v1::Alert> Feed(AlertRules* rules, const std::vector<double>& losses,
                            int64_t first = 1) {
  std::vector<v1::Alert> all;
  for (const double loss : losses) {
    for (v1::Alert& alert : rules->OnStep(At(first++, loss), {})) all.push_back(std::move(alert));
  }
  return all;
}

std::vector<double> Falling(int count, double from, double factor) {
  std::vector<double> losses;
  for (int i = 0; i < count; ++i, from *= factor) losses.push_back(from);
  return losses;
}

TEST(AlertRulesTest, RaisesLossSpikeOnceAndClearsItOnce) {
  AlertRules rules{MonitorState{}};
  EXPECT_TRUE(Feed(&rules, std::vector<double>(10, 1.0)).empty());
  EXPECT_TRUE(Feed(&rules, {2.0}, 11).empty()) << "twice the mean is not more than twice";
  const auto raised = Feed(&rules, {2.3, 2.4, 9.0}, 12);
  ASSERT_EQ(raised.size(), 1u);
  EXPECT_EQ(raised[0].type(), "loss_spike");
  EXPECT_TRUE(raised[0].active());
  EXPECT_EQ(raised[0].step(), 12);
  EXPECT_DOUBLE_EQ(raised[0].value(), 2.3);
  EXPECT_DOUBLE_EQ(raised[0].threshold(), 2 * (9 * 1.0 + 2.0) / 10);
  EXPECT_TRUE(Feed(&rules, {1.9}, 15).empty()) << "between the two borders nothing is said";
  const auto cleared = Feed(&rules, {1.2, 1.1}, 16);
  ASSERT_EQ(cleared.size(), 1u);
  EXPECT_FALSE(cleared[0].active());
  EXPECT_EQ(cleared[0].step(), 16);
}

TEST(AlertRulesTest, SpikeComparesWithTheLevelBeforeIt) {
  AlertRules rules{MonitorState{}};
  Feed(&rules, std::vector<double>(10, 1.0));
  ASSERT_EQ(Feed(&rules, {5.0}, 11).size(), 1u);
  // Fifteen steps at the new level fill the window; the spike must not look like the new normal.
  for (const v1::Alert& alert : Feed(&rules, std::vector<double>(15, 5.0), 12))
    EXPECT_EQ(alert.type(), "diverged");
}

TEST(AlertRulesTest, NoiseOfANearlySolvedTaskIsNoSpike) {
  AlertRules rules{MonitorState{}};
  EXPECT_TRUE(Feed(&rules, Falling(10, 0.001, 1.0)).empty());
  EXPECT_TRUE(Feed(&rules, {0.004, 0.001, 0.006}, 11).empty());
  EXPECT_EQ(Feed(&rules, {1.1}, 14).size(), 1u);
}

TEST(AlertRulesTest, RaisesPlateauOverFiftyStepsAndClearsIt) {
  AlertRules rules{MonitorState{}};
  EXPECT_TRUE(Feed(&rules, std::vector<double>(49, 2.0)).empty());
  const auto raised = Feed(&rules, {2.0}, 50);
  ASSERT_EQ(raised.size(), 1u);
  EXPECT_EQ(raised[0].type(), "plateau");
  EXPECT_EQ(raised[0].severity(), v1::Alert::INFO);
  const auto cleared = Feed(&rules, std::vector<double>(10, 1.5), 51);
  ASSERT_EQ(cleared.size(), 1u);
  EXPECT_FALSE(cleared[0].active());
}

TEST(AlertRulesTest, FallingLossIsNoPlateau) {
  AlertRules rules{MonitorState{}};
  EXPECT_TRUE(Feed(&rules, Falling(80, 3.0, 0.995)).empty());
}

TEST(AlertRulesTest, WatchesTheGradientNormWithHysteresis) {
  AlertRules rules{MonitorState{}};
  const auto feed = [&](double norm) { return rules.OnStep({.step = 1, .grad_norm = norm}, {}); };
  EXPECT_TRUE(feed(100).empty());
  ASSERT_EQ(feed(101).size(), 1u);
  EXPECT_TRUE(feed(60).empty());
  const auto cleared = feed(49);
  ASSERT_EQ(cleared.size(), 1u);
  EXPECT_EQ(cleared[0].type(), "exploding_gradient");
  EXPECT_FALSE(cleared[0].active());
  const auto vanishing = feed(1e-8);
  ASSERT_EQ(vanishing.size(), 1u);
  EXPECT_EQ(vanishing[0].type(), "vanishing_gradient");
  EXPECT_TRUE(feed(5e-7).empty());
  EXPECT_EQ(feed(1e-3).size(), 1u);
}

TEST(AlertRulesTest, RaisesNonFiniteAndKeepsItOutOfTheMeans) {
  AlertRules rules{MonitorState{}};
  Feed(&rules, std::vector<double>(10, 1.0));
  const auto raised = Feed(&rules, {std::numeric_limits<double>::quiet_NaN()}, 11);
  ASSERT_EQ(raised.size(), 1u);
  EXPECT_EQ(raised[0].type(), "non_finite");
  EXPECT_EQ(raised[0].severity(), v1::Alert::CRITICAL);
  EXPECT_EQ(rules.state().losses.size(), 10u);
  const auto cleared = Feed(&rules, {1.0}, 12);
  ASSERT_EQ(cleared.size(), 1u);
  EXPECT_FALSE(cleared[0].active());
  const auto norm = rules.OnStep(
      {.step = 513, .loss = 1.0, .grad_norm = std::numeric_limits<double>::infinity()}, {});
  ASSERT_EQ(norm.size(), 1u);
  EXPECT_NE(norm[0].message().find("gradient norm of step 513"), std::string::npos);
}

TEST(AlertRulesTest, WatchesTheLearningRate) {
  AlertRules rules{MonitorState{}};
  const auto feed = [&](int64_t step, double rate) {
    return rules.OnStep({.step = step, .learning_rate = rate}, {});
  };
  EXPECT_TRUE(feed(1, 1e-2).empty());
  ASSERT_EQ(feed(2, 2e-2).size(), 1u);
  ASSERT_EQ(feed(3, 1e-2).size(), 1u);
  EXPECT_TRUE(feed(1000, 1e-7).empty()) << "a warm-up is allowed to be low";
  const auto low = feed(1001, 1e-7);
  ASSERT_EQ(low.size(), 1u);
  EXPECT_EQ(low[0].type(), "learning_rate_low");
}

TEST(AlertRulesTest, WatchesTheSpeedAgainstTheBaseline) {
  AlertRules rules{MonitorState{}};
  const auto feed = [&](std::optional<double> speed, std::optional<double> baseline) {
    return rules.OnStep({.step = 1}, {speed, baseline});
  };
  EXPECT_TRUE(feed(10, std::nullopt).empty());
  EXPECT_TRUE(feed(60, 100).empty());
  ASSERT_EQ(feed(59, 100).size(), 1u);
  EXPECT_TRUE(feed(74, 100).empty());
  ASSERT_EQ(feed(75, 100).size(), 1u);
}

TEST(AlertRulesTest, WatchesTheGapToTheValidationLoss) {
  AlertRules rules{MonitorState{}};
  EXPECT_TRUE(rules.OnEvaluation(0, 9.0).empty()) << "no training loss yet";
  Feed(&rules, std::vector<double>(12, 1.0));
  EXPECT_TRUE(rules.OnEvaluation(12, 1.22).empty()) << "a new best";
  const auto raised = rules.OnEvaluation(14, 1.31);
  ASSERT_EQ(raised.size(), 1u);
  EXPECT_EQ(raised[0].type(), "validation_gap");
  EXPECT_NEAR(raised[0].value(), 0.31, 1e-9);
  EXPECT_NE(raised[0].message().find("1.22 at step 12"), std::string::npos) << raised[0].message();
  EXPECT_NE(raised[0].message().find("overfitting"), std::string::npos) << raised[0].message();
  EXPECT_TRUE(rules.OnEvaluation(20, 1.25).empty());
  ASSERT_EQ(rules.OnEvaluation(30, 1.15).size(), 1u);
}

// A model that starts with a large gap and still improves is not overfitting.
TEST(AlertRulesTest, FallingValidationLossIsNoGap) {
  AlertRules rules{MonitorState{}};
  rules.OnEvaluation(0, 3.0);
  Feed(&rules, std::vector<double>(12, 1.0));
  for (const double loss : {2.5, 2.2, 2.0, 2.04, 1.9})
    EXPECT_TRUE(rules.OnEvaluation(12, loss).empty()) << loss;
  ASSERT_EQ(rules.OnEvaluation(13, 1.96).size(), 1u);
  EXPECT_TRUE(rules.OnEvaluation(14, 1.93).empty());
  ASSERT_EQ(rules.OnEvaluation(15, 1.89).size(), 1u) << "a new best clears it";
}

TEST(AlertRulesTest, GapOfADivergedJobSaysDiverged) {
  AlertRules rules{MonitorState{}};
  rules.OnEvaluation(0, 2.1);
  Feed(&rules, std::vector<double>(10, 2.0));
  Feed(&rules, std::vector<double>(12, 2.4), 11);
  const auto raised = rules.OnEvaluation(22, 3.0);
  ASSERT_EQ(raised.size(), 1u);
  EXPECT_NE(raised[0].message().find("2.1 at step 0"), std::string::npos) << raised[0].message();
  EXPECT_NE(raised[0].message().find("diverged"), std::string::npos) << raised[0].message();
}

std::vector<v1::Alert> OfType(const std::string& type, const std::vector<v1::Alert>& alerts) {
  std::vector<v1::Alert> found;
  for (const v1::Alert& alert : alerts) {
    if (alert.type() == type) found.push_back(alert);
  }
  return found;
}

TEST(AlertRulesTest, RaisesDivergedAboveTheStartAndClearsIt) {
  AlertRules rules{MonitorState{}};
  std::vector<double> losses(10, 2.0);
  losses.insert(losses.end(), 10, 2.9);
  EXPECT_TRUE(OfType("diverged", Feed(&rules, losses)).empty()) << "0.9 above the start";
  const auto raised = OfType("diverged", Feed(&rules, std::vector<double>(10, 3.1), 21));
  ASSERT_EQ(raised.size(), 1u);
  EXPECT_TRUE(raised[0].active());
  EXPECT_EQ(raised[0].severity(), v1::Alert::CRITICAL);
  EXPECT_TRUE(OfType("diverged", Feed(&rules, std::vector<double>(10, 2.6), 31)).empty())
      << "between the two levels";
  const auto cleared = OfType("diverged", Feed(&rules, std::vector<double>(10, 2.1), 41));
  ASSERT_EQ(cleared.size(), 1u);
  EXPECT_FALSE(cleared[0].active());
}

// With a learning rate that is far too high the first steps explode already, so their mean is no
// start to compare with.
TEST(AlertRulesTest, RaisesDivergedInTheFirstSteps) {
  AlertRules rules{MonitorState{}};
  const auto raised = OfType("diverged", Feed(&rules, {3.0, 900, 27121, 4000, 3000}));
  ASSERT_EQ(raised.size(), 1u);
  EXPECT_EQ(raised[0].step(), 2);
  EXPECT_TRUE(OfType("diverged", Feed(&rules, std::vector<double>(60, 2500), 6)).empty());
}

// The losses of single small answers differ much.
TEST(AlertRulesTest, NoisyFirstStepsAreNotDiverged) {
  AlertRules rules{MonitorState{}};
  std::vector<double> losses;
  for (int i = 0; i < 60; ++i) losses.push_back(i % 3 == 0 ? 0.05 : 2.0);
  EXPECT_TRUE(OfType("diverged", Feed(&rules, losses)).empty());
}

TEST(AlertRulesTest, ARestoredStateKeepsStartAndBestValidation) {
  AlertRules first{MonitorState{}};
  first.OnEvaluation(0, 2.1);
  Feed(&first, std::vector<double>(15, 2.0));
  AlertRules second{first.state()};
  const auto gap = second.OnEvaluation(15, 3.0);
  ASSERT_EQ(gap.size(), 1u);
  EXPECT_NE(gap[0].message().find("2.1 at step 0"), std::string::npos);
  EXPECT_EQ(OfType("diverged", Feed(&second, std::vector<double>(10, 4.0), 16)).size(), 1u);
  // A checkpoint of an earlier version has losses and no start.
  AlertRules old{MonitorState{.losses = std::vector<double>(15, 2.0)}};
  EXPECT_TRUE(OfType("diverged", Feed(&old, std::vector<double>(10, 9.0), 16)).empty());
}

TEST(AlertRulesTest, ARestoredStateSaysTheSameAsAnUndisturbedRun) {
  AlertRules whole{MonitorState{}}, first{MonitorState{}};
  std::vector<double> losses(10, 1.0);
  losses.insert(losses.end(), {3.0, 3.0});
  Feed(&whole, losses);
  Feed(&first, losses);
  AlertRules second{first.state()};
  auto expected = Feed(&whole, {2.0, 1.0, 1.0}, 13), got = Feed(&second, {2.0, 1.0, 1.0}, 13);
  // The next spike comes after the quiet time.
  for (auto& alert : Feed(&whole, {4.0}, 600)) expected.push_back(std::move(alert));
  for (auto& alert : Feed(&second, {4.0}, 600)) got.push_back(std::move(alert));
  ASSERT_EQ(expected.size(), 2u);
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].SerializeAsString(), expected[i].SerializeAsString());
  }
}

TEST(AlertRulesTest, SpeedAlertDoesNotOutliveItsAttempt) {
  AlertRules rules{MonitorState{.active_alerts = {"throughput_drop", "plateau"}}};
  EXPECT_EQ(rules.state().active_alerts, std::vector<std::string>{"plateau"});
}

}  // namespace
}  // namespace trainerd::engine
