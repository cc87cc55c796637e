// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/job/metric_values.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace trainerd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Texts(const std::string& text) {
  v1::Event event;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &event)) << text;
  std::vector<std::string> values;
  for (const MetricValue& metric : MetricValues(event))
    values.push_back(absl::StrCat(metric.name, "=", metric.value));
  return values;
}

TEST(MetricValuesTest, NamesTheFieldsOfAStep) {
  EXPECT_THAT(Texts("metrics {step: 7 total_steps: 9 merged: 2 loss: 0.5 learning_rate: 0 "
                    "tokens: 64 memory_bytes: 1000}"),
              ElementsAre("loss=0.5", "learning_rate=0", "tokens=64", "memory_bytes=1000"));
}

TEST(MetricValuesTest, NamesGroupsAndPairs) {
  EXPECT_THAT(
      Texts("metrics {learning_rates {key: 'muon' value: 2} "
            "learning_rates {key: 'adamw' value: 1} preference {margin: 3}}"),
      ElementsAre("learning_rates.adamw=1", "learning_rates.muon=2", "preference.margin=3"));
}

TEST(MetricValuesTest, NamesEvaluationsByTheirSet) {
  EXPECT_THAT(Texts("eval {step: 7 set: 'validation' loss: 2 seconds: 4}"),
              ElementsAre("eval.validation.loss=2", "eval.validation.seconds=4"));
}

TEST(MetricValuesTest, OtherEventsHaveNone) {
  EXPECT_THAT(Texts("notice {code: 'X'}"), IsEmpty());
  EXPECT_THAT(Texts("metrics {step: 7}"), IsEmpty());
}

TEST(MetricValuesTest, KnowsTheStep) {
  v1::Event event;
  EXPECT_EQ(MetricStep(event), 0);
  event.mutable_metrics()->set_step(7);
  EXPECT_EQ(MetricStep(event), 7);
  event.mutable_eval()->set_step(8);
  EXPECT_EQ(MetricStep(event), 8);
}

TEST(MetricValuesTest, KnowsLosses) {
  for (const char* name : {"loss", "eval.validation.loss"}) EXPECT_TRUE(IsLoss(name)) << name;
  for (const char* name : {"gloss", "loss.x", "eval.validation.token_accuracy"})
    EXPECT_FALSE(IsLoss(name)) << name;
}

}  // namespace
}  // namespace trainerd
