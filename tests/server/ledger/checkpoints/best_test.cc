// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/checkpoints/best.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

CheckpointRow Row(int64_t number, std::optional<double> value, const std::string& metric = "m") {
  CheckpointRow row{.number = number};
  row.checkpoint.set_name(absl::StrCat("c", number));
  row.checkpoint.set_verified(true);
  if (value.has_value()) {
    row.checkpoint.add_metrics()->set_name("other");
    row.checkpoint.add_metrics()->set_name(metric);
    row.checkpoint.mutable_metrics(1)->set_value(*value);
  }
  return row;
}

v1::BestConfig Config(v1::BestConfig::Mode mode, const std::string& metric = "m") {
  v1::BestConfig config;
  config.set_metric(metric);
  config.set_mode(mode);
  return config;
}

constexpr auto kMin = v1::BestConfig::MODE_MIN, kMax = v1::BestConfig::MODE_MAX;

TEST(BestTest, RanksByValueInEitherDirection) {
  const std::vector<CheckpointRow> rows = {Row(4, 0.5), Row(3, -2), Row(2, 7), Row(1, 1)};
  EXPECT_THAT(RankByBest(rows, Config(kMin), ""), ElementsAre("c3", "c4", "c1", "c2"));
  EXPECT_THAT(RankByBest(rows, Config(kMax), ""), ElementsAre("c2", "c1", "c4", "c3"));
}

TEST(BestTest, OfEqualValuesTheEarlierOneStaysBest) {
  const std::vector<CheckpointRow> rows = {Row(3, 1), Row(2, 1), Row(1, 1)};
  EXPECT_THAT(RankByBest(rows, Config(kMin), ""), ElementsAre("c1", "c2", "c3"));
  EXPECT_THAT(RankByBest(rows, Config(kMax), ""), ElementsAre("c1", "c2", "c3"));
  // An older checkpoint that is evaluated later and is no better does not replace it.
  EXPECT_THAT(RankByBest(rows, Config(kMax), "c2"), ElementsAre("c2", "c1", "c3"));
}

TEST(BestTest, TakesRemoteMetricsByTheSameFunction) {
  const std::vector<CheckpointRow> rows = {Row(2, 0.3, "remote.mmlu.acc"),
                                           Row(1, 0.7, "remote.mmlu.acc")};
  EXPECT_THAT(RankByBest(rows, Config(kMax, "remote.mmlu.acc"), ""), ElementsAre("c1", "c2"));
  EXPECT_THAT(RankByBest(rows, Config(kMax, "remote.other.acc"), ""), IsEmpty());
}

TEST(BestTest, CountsVerifiedAndFiniteValuesOnly) {
  std::vector<CheckpointRow> rows = {Row(6, 1),
                                     Row(5, 2),
                                     Row(4, std::numeric_limits<double>::quiet_NaN()),
                                     Row(3, -std::numeric_limits<double>::infinity()),
                                     Row(2, std::nullopt),
                                     Row(1, 3)};
  rows[0].checkpoint.set_verified(false);
  rows[1].checkpoint.set_deleted(true);
  EXPECT_THAT(RankByBest(rows, Config(kMin), ""), ElementsAre("c1"));
  rows[5].checkpoint.set_superseded(true);
  EXPECT_THAT(RankByBest(rows, Config(kMin), ""), ElementsAre("c1")) << "its weights are as good";
  EXPECT_THAT(RankByBest({}, Config(kMin), ""), IsEmpty());
}

}  // namespace
}  // namespace trainerd::server
