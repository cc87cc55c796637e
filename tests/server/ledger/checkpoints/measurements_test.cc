// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/checkpoints/measurements.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace trainerd::server {
namespace {

v1::Measurement Value(const std::string& name, double value) {
  v1::Measurement measurement;
  measurement.set_name(name);
  measurement.set_value(value);
  return measurement;
}

TEST(MeasurementsTest, KnowsInWhichDirectionALossIsBetter) {
  v1::Event event;
  event.mutable_eval()->set_set("validation");
  event.mutable_eval()->set_loss(0.5);
  event.mutable_eval()->set_seconds(2);
  const std::vector<v1::Measurement> measurements = MeasurementsOf(event);
  ASSERT_EQ(measurements.size(), 2u);
  EXPECT_EQ(measurements[0].name(), "eval.validation.loss");
  EXPECT_TRUE(measurements[0].lower_is_better());
  EXPECT_FALSE(measurements[1].lower_is_better());
}

TEST(MeasurementsTest, TheNewestValueOfANameCounts) {
  v1::Checkpoint checkpoint;
  MergeMeasurements({Value("a", 1), Value("b", 2)}, &checkpoint);
  MergeMeasurements({Value("b", 3), Value("c", 4), Value("c", 5)}, &checkpoint);
  ASSERT_EQ(checkpoint.metrics_size(), 3);
  EXPECT_EQ(FindMeasurement(checkpoint, "a")->value(), 1);
  EXPECT_EQ(FindMeasurement(checkpoint, "b")->value(), 3);
  EXPECT_EQ(FindMeasurement(checkpoint, "c")->value(), 5);
  EXPECT_EQ(FindMeasurement(checkpoint, "d"), nullptr);
}

TEST(MeasurementsTest, KeepsAtMost512Names) {
  v1::Checkpoint checkpoint;
  for (int i = 0; i < 600; ++i) MergeMeasurements({Value(absl::StrCat(i), i)}, &checkpoint);
  EXPECT_EQ(checkpoint.metrics_size(), 512);
  MergeMeasurements({Value("511", -1), Value("599", -1)}, &checkpoint);
  EXPECT_EQ(FindMeasurement(checkpoint, "511")->value(), -1);
  EXPECT_EQ(FindMeasurement(checkpoint, "599"), nullptr);
}

}  // namespace
}  // namespace trainerd::server
