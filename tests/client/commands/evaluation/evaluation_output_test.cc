// SPDX-License-Identifier: Apache-2.0
// What commands print, well formed and not.
#include "client/commands/evaluation/evaluation_output.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace trainerd::client {
namespace {

TEST(EvaluationOutputTest, ReadsNumbersAndDetails) {
  const auto report = ParseEvaluationOutput(
      R"({"acc": 0.5, "n": 3, "loss": {"value": -1.5e-3, "sample_count": 10,
          "standard_error": 0.25, "lower_is_better": true}})");
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->metrics_size(), 3);
  EXPECT_EQ(report->metrics(0).name(), "acc");
  EXPECT_EQ(report->metrics(0).value(), 0.5);
  EXPECT_FALSE(report->metrics(0).has_standard_error());
  EXPECT_EQ(report->metrics(1).value(), 3);
  const v1::Measurement& loss = report->metrics(2);
  EXPECT_EQ(loss.value(), -1.5e-3);
  EXPECT_EQ(loss.sample_count(), 10);
  EXPECT_EQ(loss.standard_error(), 0.25);
  EXPECT_TRUE(loss.lower_is_better());
}

TEST(EvaluationOutputTest, ReadsTheLastLineAfterOtherOutput) {
  for (const char* output :
       {"progress 10 %\n{\"acc\": 1}\n", "{\"acc\": 1}", "\n {\"acc\": 1} \n\n",
        "{not json\n{\"acc\": 1}", "{\"b\": 2}\n{\"acc\": 1}\r\n"}) {
    const auto report = ParseEvaluationOutput(output);
    ASSERT_TRUE(report.ok()) << output << report.status();
    EXPECT_EQ(report->metrics(0).name(), "acc") << output;
  }
}

TEST(EvaluationOutputTest, ReadsMetricsWithArtifacts) {
  const auto report =
      ParseEvaluationOutput(R"({"metrics": {"acc": 1}, "artifacts": ["https://a", "https://b"]})");
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->metrics_size(), 1);
  EXPECT_THAT(report->artifacts(), ::testing::ElementsAre("https://a", "https://b"));
  EXPECT_EQ(ParseEvaluationOutput(R"({"metrics": 7})")->metrics(0).name(), "metrics");
}

TEST(EvaluationOutputTest, RefusesWhatIsNoResult) {
  for (const char* output :
       {"", " \n", "nonsense", "[1]", "1", "{}", "{\"acc\": \"high\"}", "{\"acc\": null}",
        "{\"acc\": true}", "{\"acc\": [1]}", "{\"acc\": {}}", "{\"acc\": {\"valeu\": 1}}",
        "{\"acc\": {\"value\": 1, \"sample_count\": 1.5}}", "{\"acc\": NaN}",
        "{\"metrics\": {\"a\": 1}, \"artifacts\": \"u\"}",
        "{\"metrics\": {\"a\": 1}, \"artifacts\": [1]}", "{\"metrics\": {}}",
        "{\"acc\": 1}\nlast words"}) {
    EXPECT_EQ(ParseEvaluationOutput(output).status().code(), absl::StatusCode::kInvalidArgument)
        << output;
  }
}

}  // namespace
}  // namespace trainerd::client
