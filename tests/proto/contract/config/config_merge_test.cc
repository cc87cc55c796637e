// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/config_merge.h"

#include <gtest/gtest.h>

#include "absl/time/time.h"
#include "proto/contract/config/job_config_rules.h"
#include "proto/contract/config/yaml_to_proto.h"

namespace trainerd {
namespace {

v1::JobConfig Given(const std::string& yaml, v1::JobConfig config = {}) {
  EXPECT_TRUE(YamlToMessage(yaml, &config).violations.empty()) << yaml;
  return config;
}

// A job's configuration as the daemon stores it: resolved.
v1::JobConfig Resolved(const std::string& yaml) {
  std::vector<ConfigViolation> violations;
  const v1::ResolvedJobConfig resolved =
      ResolveJobConfig(Given(yaml, Given("model: {path: /m}\ndata: {train: [/a, /b]}")),
                       {.now = absl::UnixEpoch()}, &violations);
  EXPECT_TRUE(violations.empty()) << ViolationsText(violations);
  return resolved.config();
}

// The violations of the merged configuration.
std::string Violations(const v1::JobConfig& merged) {
  std::vector<ConfigViolation> violations;
  ResolveJobConfig(merged, {.now = absl::UnixEpoch()}, &violations);
  return ViolationsText(violations);
}

TEST(ConfigMergeTest, ReplacesListsAndKeepsTheRest) {
  const v1::JobConfig merged = MergeJobConfig(
      Resolved("train: {seed: 9, freeze: [a]}\noptimizer: {betas: [0.8, 0.9]}\noutput: {path: /o}"),
      Given("data: {train: [/c]}\ntrain: {freeze: [b]}\noptimizer: {betas: [0.5, 0.6]}"));
  ASSERT_EQ(merged.data().train_size(), 1);
  EXPECT_EQ(merged.data().train(0).path(), "/c");
  ASSERT_EQ(merged.train().freeze_size(), 1);
  EXPECT_EQ(merged.train().freeze(0), "b");
  EXPECT_EQ(merged.train().seed(), 9);
  ASSERT_EQ(merged.optimizer().betas_size(), 2);
  EXPECT_EQ(merged.optimizer().betas(0), 0.5);
  EXPECT_FALSE(merged.has_output());
}

TEST(ConfigMergeTest, DropsKeysOfTheOtherOptimizer) {
  const v1::JobConfig merged =
      MergeJobConfig(Resolved("optimizer: {betas: [0.8, 0.9], eps: 1.0e-6, learning_rate: 1.0e-3}"),
                     Given("optimizer: {type: sgd}"));
  EXPECT_EQ(merged.optimizer().betas_size(), 0);
  EXPECT_FALSE(merged.optimizer().has_eps());
  EXPECT_EQ(merged.optimizer().learning_rate(), 1e-3);
  EXPECT_EQ(Violations(merged), "");
  const v1::JobConfig back =
      MergeJobConfig(Resolved("optimizer: {type: sgd, momentum: 0.9, nesterov: true}"),
                     Given("optimizer: {type: adamw}"));
  EXPECT_EQ(Violations(back), "");
  // A key that the user gives is not dropped, so that the rules report it.
  EXPECT_NE(Violations(MergeJobConfig(Resolved(""), Given("optimizer: {type: sgd, eps: 1.0e-6}"))),
            "");
}

TEST(ConfigMergeTest, DropsWhatAGivenKeyExcludes) {
  const v1::JobConfig epochs =
      MergeJobConfig(Resolved("train: {max_steps: 40}"), Given("train: {epochs: 3}"));
  EXPECT_FALSE(epochs.train().has_max_steps());
  EXPECT_EQ(epochs.train().epochs(), 3);
  EXPECT_EQ(MergeJobConfig(Resolved("train: {max_steps: 40}"), Given("train: {seed: 1}"))
                .train()
                .max_steps(),
            40);
  const v1::JobConfig fraction =
      MergeJobConfig(Resolved("data: {validation: /v}"), Given("data: {validation_fraction: 0.1}"));
  EXPECT_EQ(Violations(fraction), "");
  const v1::JobConfig file =
      MergeJobConfig(Resolved("data: {validation_fraction: 0.1}"), Given("data: {validation: /v}"));
  EXPECT_EQ(Violations(file), "");
}

}  // namespace
}  // namespace trainerd
