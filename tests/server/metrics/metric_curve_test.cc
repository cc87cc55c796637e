// SPDX-License-Identifier: Apache-2.0
#include "server/metrics/metric_curve.h"

#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(MetricCurveTest, PlanHasAtMostTheRequestedPointsAndNotFarFewer) {
  std::mt19937_64 random(5);
  for (int round = 0; round < 20'000; ++round) {
    const int64_t first = static_cast<int64_t>(random() % 3000);
    const int64_t span = 1 + static_cast<int64_t>(random() % (uint64_t{1} << (1 + random() % 40)));
    const int64_t points = 1 + static_cast<int64_t>(random() % 10'000);
    const BucketPlan plan = PlanBuckets(first, first + span - 1, points);
    ASSERT_LE(plan.count, points) << first << " " << span;
    ASSERT_LE(plan.origin, first);
    ASSERT_GE(plan.origin + plan.count * plan.width, first + span);
    ASSERT_EQ(plan.width % plan.stored_width, 0);
    ASSERT_EQ(plan.origin % plan.stored_width, 0);
    const int64_t needed = (span + points - 1) / points;
    ASSERT_LE(plan.width * 4, needed * 5) << first << " " << span << " " << points;
    if (span <= points) {
      ASSERT_EQ(plan.width, 1);
    }
  }
}

TEST(MetricCurveTest, PlanOfALongJobUsesStoredColumns) {
  EXPECT_EQ(PlanBuckets(1, 1'000'000, 2000).stored_width, kCoarseWidth);
  EXPECT_EQ(PlanBuckets(1, 1'000'000, 2000).width, 512);
  EXPECT_EQ(PlanBuckets(1, 1'000'000, 10'000).stored_width, kMediumWidth);
  EXPECT_EQ(PlanBuckets(1, 2000, 2000).stored_width, kFineWidth);
}

TEST(MetricCurveTest, MakesBucketsFromValuesOrFromStoredColumnsAlike) {
  MetricData exact;
  std::mt19937_64 random(9);
  for (int64_t step = 1; step <= 5000; step += 1 + static_cast<int64_t>(random() % 3)) {
    exact.steps.push_back(step);
    exact.times.push_back(step * 1'000'000);
    exact.last.push_back(static_cast<double>(random() % 1000));
  }
  MetricMap metrics = {{"m", exact}};
  const BucketPlan plan{.origin = 0, .width = 512, .count = 10, .stored_width = kCoarseWidth};
  MetricCurve from_values(plan);
  from_values.Add(exact, 0, 5000);
  for (int width : {kFineWidth, kMediumWidth, kCoarseWidth}) {
    MetricCurve curve(plan);
    DecodeMetrics(
        EncodeMetrics(metrics, width), [](const std::string&) { return true; },
        [&](const std::string&, const MetricData& data) { curve.Add(data, 0, 5000); });
    EXPECT_EQ(curve.Series("m").SerializeAsString(), from_values.Series("m").SerializeAsString())
        << width;
  }
  const v1::MetricSeries series = from_values.Series("m");
  EXPECT_EQ(series.steps_size(), 10);
  EXPECT_EQ(series.times(9), static_cast<double>(series.steps(9)));
}

TEST(MetricCurveTest, LaterAttemptReplacesStepsThatItRepeats) {
  MetricCurve curve({.origin = 1, .width = 1, .count = 4});
  curve.Add({.steps = {1, 2, 3}, .times = {1, 2, 3}, .last = {10, 20, 30}, .min = {}, .max = {}}, 0,
            10);
  curve.Add({.steps = {3, 4}, .times = {4, 5}, .last = {33, 44}, .min = {}, .max = {}}, 0, 10);
  const v1::MetricSeries series = curve.Series("m");
  EXPECT_THAT(series.last(), ElementsAre(10, 20, 33, 44));
  EXPECT_THAT(series.min(), IsEmpty()) << "each step has one value";
}

TEST(MetricCurveTest, OmitsBucketsWithoutAValueAndStepsOutside) {
  MetricCurve curve({.origin = 0, .width = 10, .count = 5});
  EXPECT_TRUE(curve.empty());
  curve.Add(
      {.steps = {1, 2, 31, 44}, .times = {1, 2, 3, 4}, .last = {1, 2, 3, 4}, .min = {}, .max = {}},
      2, 40);
  EXPECT_FALSE(curve.empty());
  const v1::MetricSeries series = curve.Series("m");
  EXPECT_THAT(series.steps(), ElementsAre(2, 31));
  EXPECT_THAT(series.max(), IsEmpty());
}

}  // namespace
}  // namespace trainerd::server
