// SPDX-License-Identifier: Apache-2.0
#include "client/commands/common/sweep.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/utf8.h"

namespace trainerd::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(SweepTest, MakesEveryCombinationLastKeyFastest) {
  const auto points =
      *ExpandSweep({"optimizer.learning_rate=1e-5, 2e-5", "train.seed=1,2", "train.epochs=3"});
  ASSERT_EQ(points.size(), 4u);
  EXPECT_THAT(points[0].sets,
              ElementsAre("optimizer.learning_rate=1e-5", "train.seed=1", "train.epochs=3"));
  EXPECT_THAT(points[1].sets[1], "train.seed=2");
  EXPECT_THAT(points[2].sets[0], "optimizer.learning_rate=2e-5");
  EXPECT_EQ(points[3].suffix, "learning_rate=2e-5-seed=2-epochs=3");
}

TEST(SweepTest, CommasInListsAndQuotesDoNotSeparate) {
  const auto points = *ExpandSweep({R"(k=[0.9,0.95],[0.9, 0.99],{a: [1, 2]},"x,y",'[',"it's")"});
  std::vector<std::string> sets;
  for (const SweepPoint& point : points) sets.push_back(point.sets[0]);
  EXPECT_THAT(sets, ElementsAre("k=[0.9,0.95]", "k=[0.9, 0.99]", "k={a: [1, 2]}", "k=\"x,y\"",
                                "k='['", "k=\"it's\""));
}

TEST(SweepTest, RefusesWhatIsNotASweep) {
  for (const char* text : {"k", "=1", "k=", "k=1,", "k=,1", "k=1,,2", "k=[1,2", "k=1]", "k={1]}",
                           "k=\"a", "k=1,2,1"}) {
    EXPECT_THAT(std::string(ExpandSweep({text}).status().message()), HasSubstr("--sweep")) << text;
  }
  EXPECT_THAT(std::string(ExpandSweep({"k=1,2", "k=3"}).status().message()),
              HasSubstr("another --sweep"));
}

TEST(SweepTest, HasAtMost1000Jobs) {
  std::string ten = "=0";
  for (int i = 1; i < 10; ++i) absl::StrAppend(&ten, ",", i);
  EXPECT_EQ(ExpandSweep({"a" + ten, "b" + ten, "c" + ten})->size(), 1000u);
  EXPECT_THAT(
      std::string(ExpandSweep({"a" + ten, "b" + ten, "c" + ten, "d=1,2"}).status().message()),
      HasSubstr("1000"));
}

TEST(SweepTest, NamesSayWhatDiffersAndKeepTheLimit) {
  const auto points = *ExpandSweep({"optimizer.learning_rate=1e-5,2e-5"});
  EXPECT_EQ(SweepName("run", points[1], 2), "run-learning_rate=2e-5");
  std::string name;
  while (name.size() < 199) name += "ü";
  const std::string cut = SweepName(name, points[1], 12);
  EXPECT_LE(cut.size(), 200u);
  EXPECT_EQ(FindInvalidUtf8(cut), std::string::npos);
  EXPECT_TRUE(cut.ends_with("-12"));
}

}  // namespace
}  // namespace trainerd::client
