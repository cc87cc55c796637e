// SPDX-License-Identifier: Apache-2.0
#include "server/metrics/metric_columns.h"

#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

MetricMap Decoded(const internal::MetricColumns& columns) {
  // As stored.
  internal::MetricColumns read;
  EXPECT_TRUE(read.ParseFromString(columns.SerializeAsString()));
  MetricMap metrics;
  DecodeMetrics(
      read, [](const std::string&) { return true; },
      [&](const std::string& name, const MetricData& data) { metrics[name] = data; });
  return metrics;
}

TEST(MetricColumnsTest, NamesEachNumberOfMetricsAndEvaluations) {
  MetricMap metrics;
  AppendMetrics(
      FromText<v1::Event>(
          "time { seconds: 5 nanos: 1500 } metrics { step: 7 loss: 0.5 tokens: 12 "
          "merged: 1 learning_rates { key: 'muon' value: 0.1 } preference { margin: 2 } }"),
      &metrics);
  AppendMetrics(FromText<v1::Event>("eval { step: 7 set: 'validation' loss: 0.75 }"), &metrics);
  AppendMetrics(FromText<v1::Event>("notice { code: 'X' }"), &metrics);
  std::set<std::string> names;
  for (const auto& [name, data] : metrics) names.insert(name);
  EXPECT_THAT(names, UnorderedElementsAre("loss", "tokens", "learning_rates.muon",
                                          "preference.margin", "eval.validation.loss"));
  EXPECT_THAT(metrics["loss"].steps, ElementsAre(7));
  EXPECT_THAT(metrics["loss"].times, ElementsAre(5'000'001));
  EXPECT_THAT(metrics["loss"].last, ElementsAre(0.5));
}

TEST(MetricColumnsTest, ReadsBackEveryValueExactly) {
  std::mt19937_64 random(3);
  const std::vector<double> special = {0.0,   -0.0,   kInfinity,          -kInfinity,          kNan,
                                       1e300, 5e-324, 9007199254740993.0, -9007199254740992.0, 1.0,
                                       -1.0};
  MetricMap metrics;
  for (const char* name : {"integers", "numbers", "special", "rare"}) {
    MetricData& data = metrics[name];
    for (int64_t step = 1; step < 500; ++step) {
      if (name == std::string("rare") && step % 7 != 0) continue;
      data.steps.push_back(step * 3);
      data.times.push_back(1'800'000'000'000'000 + static_cast<int64_t>(random() % 1000) * step);
      data.last.push_back(
          name == std::string("integers") ? static_cast<double>(random() % 1'000'000'000'000) - 5e11
          : name == std::string("special") ? special[random() % special.size()]
                                           : std::ldexp(static_cast<double>(random() >> 11), -60));
    }
  }
  const MetricMap read = Decoded(EncodeMetrics(metrics, 1));
  ASSERT_EQ(read.size(), metrics.size());
  for (const auto& [name, data] : metrics) {
    const MetricData& other = read.at(name);
    EXPECT_EQ(other.steps, data.steps) << name;
    EXPECT_EQ(other.times, data.times) << name;
    ASSERT_EQ(other.last.size(), data.last.size()) << name;
    for (size_t i = 0; i < data.last.size(); ++i) {
      EXPECT_EQ(std::isnan(other.last[i]), std::isnan(data.last[i])) << name << i;
      if (std::isnan(data.last[i])) continue;
      EXPECT_EQ(other.last[i], data.last[i]) << name << i;
      EXPECT_EQ(std::signbit(other.last[i]), std::signbit(data.last[i])) << name << i;
    }
    EXPECT_THAT(other.min, IsEmpty());
  }
}

TEST(MetricColumnsTest, WiderColumnsHaveLastLeastAndGreatestOfEachBucket) {
  MetricMap metrics;
  metrics["m"] = {.steps = {1, 2, 15, 16, 40},
                  .times = {10, 20, 30, 40, 50},
                  .last = {4, -1, 2, 9, 5},
                  .min = {},
                  .max = {}};
  metrics["sparse"] = {.steps = {3, 20}, .times = {1, 2}, .last = {8, 7}, .min = {}, .max = {}};
  const MetricMap read = Decoded(EncodeMetrics(metrics, 16));
  EXPECT_THAT(read.at("m").steps, ElementsAre(15, 16, 40));
  EXPECT_THAT(read.at("m").times, ElementsAre(30, 40, 50));
  EXPECT_THAT(read.at("m").last, ElementsAre(2, 9, 5));
  EXPECT_THAT(read.at("m").min, ElementsAre(-1, 9, 5));
  EXPECT_THAT(read.at("m").max, ElementsAre(4, 9, 5));
  EXPECT_THAT(read.at("sparse").last, ElementsAre(8, 7));
  EXPECT_THAT(read.at("sparse").min, IsEmpty()) << "each bucket holds one value";
}

TEST(MetricColumnsTest, OnlyNumbersCountForLeastAndGreatest) {
  EXPECT_EQ(LeastOf(kNan, 3), 3);
  EXPECT_EQ(LeastOf(-kInfinity, 3), 3);
  EXPECT_EQ(GreatestOf(kInfinity, 3), 3);
  EXPECT_EQ(GreatestOf(3, kNan), 3);
  EXPECT_EQ(LeastOf(kNan, -kInfinity), -kInfinity) << "nothing else is there";
  EXPECT_EQ(LeastOf(kInfinity, -kInfinity), -kInfinity);
  EXPECT_TRUE(std::isnan(GreatestOf(kNan, kNan)));
}

TEST(MetricColumnsTest, SortsByStepAndKeepsTheNewestOfARepeatedStep) {
  MetricMap metrics;
  metrics["m"] = {
      .steps = {5, 2, 5, 3}, .times = {1, 2, 3, 4}, .last = {50, 20, 55, 30}, .min = {}, .max = {}};
  SortMetrics(&metrics);
  EXPECT_THAT(metrics["m"].steps, ElementsAre(2, 3, 5));
  EXPECT_THAT(metrics["m"].last, ElementsAre(20, 30, 55));
  EXPECT_THAT(metrics["m"].times, ElementsAre(2, 4, 3));
}

TEST(MetricColumnsTest, DecodesOnlyWhatIsRequested) {
  MetricMap metrics;
  metrics["a"] = metrics["b"] = {.steps = {1}, .times = {1}, .last = {1}, .min = {}, .max = {}};
  std::vector<std::string> names;
  DecodeMetrics(
      EncodeMetrics(metrics, 1), [](const std::string& name) { return name == "b"; },
      [&](const std::string& name, const MetricData&) { names.push_back(name); });
  EXPECT_THAT(names, ElementsAre("b"));
}

}  // namespace
}  // namespace trainerd::server
