// SPDX-License-Identifier: Apache-2.0
// evaluation.remote: what a job file and what a client of gRPC can write.
#include "proto/contract/config/rules/remote_evaluation_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "proto/contract/config/rules/job_config_rules.h"
#include "proto/contract/job_file/message_to_yaml.h"
#include "proto/contract/job_file/yaml_to_proto.h"

namespace trainerd {
namespace {

using ::testing::HasSubstr;

std::string ViolationsOf(const std::string& evaluation, v1::JobConfig* config) {
  const YamlResult read = YamlToMessage(
      absl::StrCat("model: {path: /m}\ndata: {train: [/d.jsonl], validation: /v.jsonl}\n"
                   "evaluation: ",
                   evaluation),
      config);
  if (!read.violations.empty()) return ViolationsText(read.violations);
  std::vector<ConfigViolation> violations;
  *config = ResolveJobConfig(*config, {.now = absl::UnixEpoch()}, &violations).config();
  return ViolationsText(violations);
}

std::string ViolationsOf(const std::string& evaluation) {
  v1::JobConfig config;
  return ViolationsOf(evaluation, &config);
}

TEST(RemoteEvaluationRulesTest, FillsInTheDefaultsOfAnEntry) {
  v1::JobConfig config;
  EXPECT_EQ(ViolationsOf("{remote: [{name: q, suite: lm-eval}]}", &config), "");
  const v1::RemoteEvaluationConfig& entry = config.evaluation().remote(0);
  EXPECT_TRUE(entry.when().at_end());
  EXPECT_FALSE(entry.when().at_start() || entry.when().on_best() || entry.required());
  EXPECT_EQ(entry.when().every_steps(), 0);
  EXPECT_EQ(entry.deadline().seconds(), 86'400);
  // As YAML and back.
  v1::JobConfig again;
  EXPECT_TRUE(YamlToMessage(MessageToYaml(config), &again).violations.empty());
  EXPECT_EQ(again.SerializeAsString(), config.SerializeAsString());
}

TEST(RemoteEvaluationRulesTest, AcceptsEveryKey) {
  EXPECT_EQ(ViolationsOf("{best: {}, remote: [{name: q_1-a, suite: a.b_c-1, params: {tasks: 'a,b', "
                         "limit: '5'}, when: {every_steps: 5, on_best: true, at_start: true, "
                         "at_end: true, min_gap: 10m}, deadline: 720h, required: true}]}"),
            "");
}

TEST(RemoteEvaluationRulesTest, RefusesWhatCannotWork) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{remote: [{suite: s}]}", "evaluation.remote[0].name"},
      {"{remote: [{name: q}]}", "evaluation.remote[0].suite"},
      {"{remote: [{name: '', suite: s}]}", "evaluation.remote[0].name"},
      {"{remote: [{name: q.a, suite: s}]}", "evaluation.remote[0].name"},
      {"{remote: [{name: Q, suite: s}]}", "evaluation.remote[0].name"},
      {"{remote: [{name: q, suite: 'a b'}]}", "evaluation.remote[0].suite"},
      {"{remote: [{name: q, suite: s}, {name: q, suite: t}]}", "evaluation.remote[1].name"},
      {"{remote: [{name: q, suite: s, deadline: 59s}]}", "evaluation.remote[0].deadline"},
      {"{remote: [{name: q, suite: s, deadline: 721h}]}", "evaluation.remote[0].deadline"},
      {"{remote: [{name: q, suite: s, when: {every_steps: -1}}]}", "every_steps"},
      {"{remote: [{name: q, suite: s, when: {at_end: false}}]}", "evaluation.remote[0].when"},
      {"{remote: [{name: q, suite: s, when: {at_end: false, at_start: true}, required: true}]}",
       "evaluation.remote[0].required"},
      {"{remote: [{name: q, suite: s, when: {on_best: true}}]}",
       "evaluation.remote[0].when.on_best"},
      {"{best: {metric: remote.q.acc}, remote: [{name: q, suite: s, when: {on_best: true}}]}",
       "evaluation.remote[0].when.on_best"},
      {"{remote: [{name: q, suite: s, whan: {}}]}", "whan"}};
  for (const auto& [yaml, where] : cases) EXPECT_THAT(ViolationsOf(yaml), HasSubstr(where)) << yaml;
}

TEST(RemoteEvaluationRulesTest, LimitsEntriesAndTheirParams) {
  const auto entries = [](int count, int params, int bytes) {
    std::string yaml = "{remote: [";
    for (int i = 0; i < count; ++i) {
      absl::StrAppend(&yaml, "{name: e", i, ", suite: s, params: {");
      for (int k = 0; k < params; ++k)
        absl::StrAppend(&yaml, "k", k, ": '", std::string(bytes, 'v'), "', ");
      absl::StrAppend(&yaml, "}}, ");
    }
    return yaml + "]}";
  };
  EXPECT_EQ(ViolationsOf(entries(32, 1, 1)), "");
  EXPECT_THAT(ViolationsOf(entries(33, 0, 0)), HasSubstr("33 entries; the limit is 32"));
  EXPECT_EQ(ViolationsOf(entries(1, 32, 1024)), "");
  EXPECT_THAT(ViolationsOf(entries(1, 33, 1)), HasSubstr("33 params"));
  EXPECT_THAT(ViolationsOf(entries(1, 1, 1025)), HasSubstr("1025 bytes"));
  EXPECT_THAT(ViolationsOf(entries(5, 32, 1024)), HasSubstr("the limit is 131072"));
}

}  // namespace
}  // namespace trainerd
