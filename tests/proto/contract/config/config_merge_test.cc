// SPDX-License-Identifier: Apache-2.0
#include "proto/contract/config/config_merge.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "proto/contract/config/rules/job_config_rules.h"
#include "proto/contract/job_file/yaml_to_proto.h"

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

TEST(ConfigMergeTest, DoesNotTakeOverWhenTheOtherJobWasToStart) {
  const v1::JobConfig base =
      Resolved("suspended: true\nnot_before: 2026-12-01T22:00:00Z\ndepends_on: [{job: jobs/a}]\n");
  ASSERT_TRUE(base.suspended() && base.has_not_before() && base.depends_on_size() == 1);
  const v1::JobConfig merged = MergeJobConfig(base, Given("train: {seed: 9}"));
  EXPECT_FALSE(merged.has_suspended());
  EXPECT_FALSE(merged.has_not_before());
  EXPECT_EQ(merged.depends_on_size(), 0);
  const v1::JobConfig given = MergeJobConfig(base, Given("suspended: true"));
  EXPECT_TRUE(given.suspended());
  EXPECT_FALSE(given.has_not_before());
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

TEST(ConfigMergeTest, DefaultsThatDependOnTheTypeFollowIt) {
  const auto resolved = [](const v1::JobConfig& config) {
    std::vector<ConfigViolation> violations;
    const v1::ResolvedJobConfig result =
        ResolveJobConfig(config, {.now = absl::UnixEpoch()}, &violations);
    EXPECT_EQ(ViolationsText(violations), "");
    return result.config().optimizer();
  };
  const std::string muon = "optimizer: {type: muon, learning_rate: 0.02, adamw: {eps: 1.0e-9}}";
  const v1::OptimizerConfig to_muon = resolved(MergeJobConfig(
      Resolved("optimizer: {type: sgd}"), Given("optimizer: {type: muon, learning_rate: 0.01}")));
  EXPECT_EQ(to_muon.momentum(), 0.95);
  EXPECT_TRUE(to_muon.nesterov());
  EXPECT_EQ(to_muon.adamw().learning_rate(), 3e-4);
  const v1::OptimizerConfig to_sgd =
      resolved(MergeJobConfig(Resolved(muon), Given("optimizer: {type: sgd}")));
  EXPECT_EQ(to_sgd.momentum(), 0);
  EXPECT_FALSE(to_sgd.nesterov());
  EXPECT_FALSE(to_sgd.has_adamw());
  const v1::OptimizerConfig to_adamw =
      resolved(MergeJobConfig(Resolved(muon), Given("optimizer: {type: adamw}")));
  EXPECT_FALSE(to_adamw.has_momentum() || to_adamw.has_adamw());
  EXPECT_EQ(to_adamw.learning_rate(), 2e-5) << "Muon's rate suits no other optimizer";
  const v1::OptimizerConfig same = resolved(
      MergeJobConfig(Resolved(muon), Given("optimizer: {adamw: {learning_rate: 1.0e-3}}")));
  EXPECT_EQ(same.learning_rate(), 0.02);
  EXPECT_EQ(same.adamw().eps(), 1e-9);
  EXPECT_EQ(same.adamw().learning_rate(), 1e-3);
  EXPECT_TRUE(
      absl::StrContains(Violations(MergeJobConfig(Resolved(""), Given("optimizer: {type: muon}"))),
                        "optimizer.learning_rate: is required with type: muon"));
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

TEST(ConfigMergeTest, KeepsTheFormOfTheFinalModel) {
  const v1::JobConfig merged = MergeJobConfig(
      Resolved("lora: {r: 4}\noutput: {path: /o, form: merged}"), Given("lora: {dropout: 0.1}"));
  EXPECT_FALSE(merged.output().has_path());
  EXPECT_EQ(merged.output().form(), v1::OutputConfig::FORM_MERGED);
  EXPECT_EQ(merged.lora().r(), 4);
  EXPECT_EQ(merged.lora().dropout(), 0.1);
  EXPECT_EQ(Violations(merged), "");
  EXPECT_EQ(Violations(MergeJobConfig(Resolved("lora: {adapter_path: /a}"), Given(""))), "");
}

}  // namespace
}  // namespace trainerd
