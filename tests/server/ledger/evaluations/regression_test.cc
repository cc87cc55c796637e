// SPDX-License-Identifier: Apache-2.0
// The rule: worse by more than two standard errors of the difference. Expectations are worked out
// by hand; properties are checked over random measurements.
#include "server/ledger/evaluations/regression.h"

#include <cmath>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trainerd::server {
namespace {

using v1::Measurement;

Measurement Metric(double value, int64_t samples = 0, const std::string& name = "acc") {
  Measurement metric;
  metric.set_name(name);
  metric.set_value(value);
  metric.set_sample_count(samples);
  return metric;
}

Measurement WithError(double value, double error, bool lower_is_better = false) {
  Measurement metric = Metric(value);
  metric.set_standard_error(error);
  metric.set_lower_is_better(lower_is_better);
  return metric;
}

bool Alerts(const Measurement& result, const Measurement& reference) {
  return FindRegression({result}, {reference}).has_value();
}

TEST(StandardErrorTest, IsTheReportedOneElseThatOfAProportion) {
  EXPECT_EQ(StandardErrorOf(WithError(7, 0.5)), 0.5);
  EXPECT_DOUBLE_EQ(*StandardErrorOf(Metric(0.5, 100)), 0.05);
  EXPECT_DOUBLE_EQ(*StandardErrorOf(Metric(0.2, 400)), 0.02);
  EXPECT_FALSE(StandardErrorOf(Metric(0.5)).has_value()) << "the number of samples is not known";
  EXPECT_FALSE(StandardErrorOf(Metric(1.5, 100)).has_value()) << "not a proportion";
  EXPECT_FALSE(StandardErrorOf(Metric(-0.1, 100)).has_value());
  EXPECT_GT(*StandardErrorOf(Metric(1, 10)), 0) << "ten of ten is no certainty";
  EXPECT_GT(*StandardErrorOf(Metric(0, 10)), 0);
}

TEST(RegressionTest, NeedsMoreThanTwoStandardErrorsOfTheDifference) {
  // 3-4-5: the error of the difference is 0.05.
  EXPECT_FALSE(Alerts(WithError(0.401, 0.03), WithError(0.5, 0.04)));
  EXPECT_TRUE(Alerts(WithError(0.399, 0.03), WithError(0.5, 0.04)));
  EXPECT_FALSE(Alerts(WithError(0.6, 0.03), WithError(0.5, 0.04))) << "it is better";
}

TEST(RegressionTest, FollowsTheDirectionOfTheMetric) {
  EXPECT_TRUE(Alerts(WithError(0.61, 0.03, true), WithError(0.5, 0.04, true)));
  EXPECT_FALSE(Alerts(WithError(0.39, 0.03, true), WithError(0.5, 0.04, true)));
}

TEST(RegressionTest, MoreSamplesMakeTheSameDifferenceSignificant) {
  EXPECT_FALSE(Alerts(Metric(0.70, 50), Metric(0.75, 50)));
  EXPECT_TRUE(Alerts(Metric(0.70, 5'000), Metric(0.75, 5'000)));
  EXPECT_FALSE(Alerts(Metric(0, 1), Metric(1, 1))) << "one sample each";
}

TEST(RegressionTest, IsSilentWithoutAStandardError) {
  EXPECT_FALSE(Alerts(Metric(1), Metric(100)));
  EXPECT_FALSE(Alerts(Metric(1), WithError(100, 0.1)));
  EXPECT_FALSE(Alerts(WithError(1, 0.1), Metric(100)));
}

TEST(RegressionTest, NoSpreadAtAllMakesEveryDifferenceSignificant) {
  EXPECT_TRUE(Alerts(WithError(0.4999, 0), WithError(0.5, 0)));
  EXPECT_FALSE(Alerts(WithError(0.5, 0), WithError(0.5, 0)));
}

TEST(RegressionTest, ComparesMetricsOfOneNameAndNamesTheWorst) {
  Measurement f1 = WithError(0.2, 0.01), acc = WithError(0.45, 0.01);
  f1.set_name("f1");
  Measurement old_f1 = WithError(0.3, 0.01), old_acc = WithError(0.6, 0.01);
  old_f1.set_name("f1");
  const std::optional<Regression> worst = FindRegression({f1, acc}, {old_acc, old_f1});
  ASSERT_TRUE(worst.has_value());
  EXPECT_EQ(worst->result.name(), "acc");
  EXPECT_EQ(worst->reference.value(), 0.6);
  EXPECT_NEAR(worst->bound, 0.6 - 2 * std::hypot(0.01, 0.01), 1e-12);
  EXPECT_THAT(RegressionText(*worst), ::testing::HasSubstr("acc is 0.45"));
  EXPECT_FALSE(FindRegression({f1}, {old_acc}).has_value());
}

TEST(BestOfEachTest, FollowsTheDirectionOfEachName) {
  Measurement low = Metric(3, 0, "loss"), high = Metric(4, 0, "loss");
  low.set_lower_is_better(true);
  high.set_lower_is_better(true);
  const std::vector<Measurement> best =
      BestOfEach({Metric(0.5), high, Metric(0.7), low, Metric(0.6)});
  ASSERT_EQ(best.size(), 2u);
  EXPECT_EQ(best[0].value(), 0.7);
  EXPECT_EQ(best[1].value(), 3);
}

TEST(RegressionProperties, HoldOverRandomMeasurements) {
  std::mt19937_64 random(11);
  std::uniform_real_distribution<double> value(0, 1), error(0, 0.3);
  std::uniform_int_distribution<int64_t> samples(1, 10'000);
  for (int i = 0; i < 200'000; ++i) {
    const bool lower = i % 2 == 0, known = i % 3 == 0;
    Measurement a = Metric(value(random), samples(random));
    Measurement b = Metric(value(random), samples(random));
    a.set_lower_is_better(lower);
    b.set_lower_is_better(lower);
    if (known) a.set_standard_error(error(random));
    const double spread = std::hypot(*StandardErrorOf(a), *StandardErrorOf(b));
    const bool alerts = Alerts(a, b);
    // None within two standard errors, whichever way.
    ASSERT_FALSE(alerts && std::abs(a.value() - b.value()) <= 2 * spread) << i;
    // Never in both directions, and never for the better one.
    if (alerts) {
      ASSERT_FALSE(Alerts(b, a)) << i;
      ASSERT_TRUE(IsBetter(b, a)) << i;
    }
    // A result that is worse still alerts, too; a larger error never adds an alert.
    Measurement worse = a, vaguer = a;
    worse.set_value(lower ? a.value() + 1 : a.value() - 1);
    worse.set_standard_error(*StandardErrorOf(a));
    vaguer.set_standard_error(*StandardErrorOf(a) + 0.1);
    ASSERT_TRUE(!alerts || Alerts(worse, b)) << i;
    ASSERT_TRUE(alerts || !Alerts(vaguer, b)) << i;
  }
}

}  // namespace
}  // namespace trainerd::server
