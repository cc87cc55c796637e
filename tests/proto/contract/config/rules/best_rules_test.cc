// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/rules/best_rules.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/contract/config/rules/job_config_rules.h"
#include "proto/contract/job_file/yaml_to_proto.h"

namespace trainerd {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

v1::JobConfig Resolve(const std::string& yaml, std::vector<ConfigViolation>* violations) {
  v1::JobConfig config;
  const YamlResult read = YamlToMessage("model: {path: /m}\n" + yaml, &config);
  EXPECT_TRUE(read.violations.empty()) << yaml << ": " << read.violations.front().message;
  return ResolveJobConfig(config, {.now = absl::UnixEpoch(), .default_name = "job"}, violations)
      .config();
}

v1::BestConfig Best(const std::string& yaml) {
  std::vector<ConfigViolation> violations;
  const v1::JobConfig config =
      Resolve("data: {train: [/d.jsonl], validation_fraction: 0.1}\n" + yaml, &violations);
  EXPECT_THAT(violations, IsEmpty()) << yaml;
  EXPECT_TRUE(config.evaluation().has_best());
  return config.evaluation().best();
}

ConfigViolation Violation(const std::string& yaml) {
  std::vector<ConfigViolation> violations;
  Resolve(yaml, &violations);
  EXPECT_EQ(violations.size(), 1u) << yaml;
  return violations.empty() ? ConfigViolation() : violations.front();
}

constexpr char kRemote[] = "remote: [{name: mmlu, suite: s}]";

TEST(BestRulesTest, FillsInMetricAndMode) {
  EXPECT_EQ(Best("evaluation: {best: {}}").metric(), "eval.validation.loss");
  EXPECT_EQ(Best("evaluation: {best: {}}").mode(), v1::BestConfig::MODE_MIN);
  EXPECT_EQ(Best("evaluation: {best: {mode: max}}").mode(), v1::BestConfig::MODE_MAX);
  const std::string remote = std::string("evaluation: {") + kRemote + ", best: {metric: ";
  EXPECT_EQ(Best(remote + "remote.mmlu.acc}}").mode(), v1::BestConfig::MODE_MAX);
  EXPECT_EQ(Best(remote + "remote.mmlu.loss}}").mode(), v1::BestConfig::MODE_MIN);
  EXPECT_EQ(Best(remote + "remote.mmlu.acc, mode: min}}").mode(), v1::BestConfig::MODE_MIN);
}

TEST(BestRulesTest, WithoutTheGroupNoneIsBest) {
  std::vector<ConfigViolation> violations;
  EXPECT_FALSE(Resolve("data: {train: [/d.jsonl]}", &violations).evaluation().has_best());
  EXPECT_THAT(violations, IsEmpty());
}

TEST(BestRulesTest, RefusesAMetricThatTheJobDoesNotMeasure) {
  const std::string data = "data: {train: [/d.jsonl], validation_fraction: 0.1}\n";
  for (const char* metric :
       {"eval.validation.seconds", "eval.test.loss", "loss", "remote.mmlu", "remote.mmlu.",
        "remote.other.acc", "remote..acc", "remote.mmlu2.acc"}) {
    const ConfigViolation violation =
        Violation(data + "evaluation: {" + kRemote + ", best: {metric: " + metric + "}}");
    EXPECT_EQ(violation.path, "evaluation.best.metric") << metric;
    EXPECT_THAT(violation.message, HasSubstr(metric));
  }
}

TEST(BestRulesTest, RefusesTheValidationLossWithoutValidationData) {
  const ConfigViolation violation = Violation("data: {train: [/d.jsonl]}\nevaluation: {best: {}}");
  EXPECT_EQ(violation.path, "evaluation.best.metric");
  EXPECT_THAT(violation.message, HasSubstr("data.validation"));
}

TEST(BestRulesTest, RefusesKeepBestWithoutBest) {
  for (const char* count : {"0", "2"}) {
    const ConfigViolation violation =
        Violation(std::string("data: {train: [/d.jsonl]}\ncheckpoint: {keep_best: ") + count + "}");
    EXPECT_EQ(violation.path, "checkpoint.keep_best");
    EXPECT_THAT(violation.message, HasSubstr("evaluation.best"));
  }
  std::vector<ConfigViolation> violations;
  Resolve("data: {train: [/d.jsonl]}\ncheckpoint: {keep_best: 1}", &violations);
  EXPECT_THAT(violations, IsEmpty()) << "the default";
}

}  // namespace
}  // namespace trainerd
