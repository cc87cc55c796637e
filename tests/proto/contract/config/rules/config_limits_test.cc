// SPDX-License-Identifier: Apache-2.0
// The limits are those of the head of trainer.proto.
#include "proto/contract/config/rules/config_limits.h"

#include <algorithm>
#include <functional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/unknown_field_set.h"
#include "gtest/gtest.h"
#include "proto/contract/config/config_merge.h"
#include "proto/contract/config/rules/job_config_rules.h"

namespace trainerd {
namespace {

using google::protobuf::Message;

v1::JobConfig Small() {
  v1::JobConfig config;
  config.mutable_model()->set_path("/m");
  config.mutable_data()->add_train()->set_path("/d.jsonl");
  return config;
}

std::vector<ConfigViolation> Violations(const v1::JobConfig& config) {
  std::vector<ConfigViolation> violations;
  ResolveJobConfig(config, {.now = absl::UnixEpoch()}, &violations);
  return violations;
}

std::vector<std::string> Paths(const v1::JobConfig& config) {
  std::vector<std::string> paths;
  for (const ConfigViolation& violation : Violations(config)) paths.push_back(violation.path);
  return paths;
}

void AddUnknown(int number, Message* group) {
  group->GetReflection()->MutableUnknownFields(group)->AddVarint(number, 1);
}

TEST(ConfigLimitsTest, ReportsUnknownFieldAtAnyDepth) {
  struct Case {
    std::string path;
    int number;
    std::function<Message*(v1::JobConfig&)> group;
  };
  const std::vector<Case> cases = {
      {"", 1017, [](v1::JobConfig& c) { return &c; }},
      {"", 536870911, [](v1::JobConfig& c) { return &c; }},
      {"model", 1002, [](v1::JobConfig& c) { return c.mutable_model(); }},
      {"data", 9999, [](v1::JobConfig& c) { return c.mutable_data(); }},
      {"data.findings", 200, [](v1::JobConfig& c) { return c.mutable_data()->mutable_findings(); }},
      {"data.train[0]", 3, [](v1::JobConfig& c) { return c.mutable_data()->mutable_train(0); }},
      {"limits.stop_grace", 3,
       [](v1::JobConfig& c) { return c.mutable_limits()->mutable_stop_grace(); }},
      {"samples", 40, [](v1::JobConfig& c) { return c.mutable_samples(); }},
  };
  for (const Case& c : cases) {
    v1::JobConfig config = Small();
    config.mutable_limits()->mutable_stop_grace()->set_seconds(9);
    AddUnknown(c.number, c.group(config));
    // As it arrives: through the wire.
    v1::JobConfig received;
    ASSERT_TRUE(received.ParseFromString(config.SerializeAsString()));
    const std::vector<ConfigViolation> violations = Violations(received);
    const auto found =
        std::find_if(violations.begin(), violations.end(),
                     [](const ConfigViolation& v) { return v.reason == "UNKNOWN_FIELD"; });
    ASSERT_NE(found, violations.end()) << c.path;
    EXPECT_EQ(found->path, c.path);
    EXPECT_TRUE(absl::StrContains(found->message, absl::StrCat("field ", c.number, " of ")))
        << found->message;
  }
}

TEST(ConfigLimitsTest, ReportsEachUnknownNumberOnceAndNotTooMany) {
  v1::JobConfig config = Small();
  for (int i = 0; i < 5; ++i) AddUnknown(17, &config);
  EXPECT_EQ(Violations(config).size(), 1u);
  for (int i = 0; i < 100'000; ++i) AddUnknown(1000 + i, config.mutable_model());
  EXPECT_EQ(Violations(config).size(), 100u);
}

TEST(ConfigLimitsTest, UnknownFieldsOfBaseSurviveMerge) {
  v1::JobConfig base = Small();
  AddUnknown(77, base.mutable_data());
  EXPECT_EQ(Paths(MergeJobConfig(base, v1::JobConfig())), std::vector<std::string>{"data"});
}

TEST(ConfigLimitsTest, AcceptsValuesAtLimitAndRefusesThoseAbove) {
  struct Case {
    std::string path;
    size_t limit;
    std::function<void(v1::JobConfig&, const std::string&)> set;
  };
  const std::vector<Case> cases = {
      {"name", 200, [](v1::JobConfig& c, const std::string& t) { c.set_name(t); }},
      {"data.system_prompt", 65536,
       [](v1::JobConfig& c, const std::string& t) { c.mutable_data()->set_system_prompt(t); }},
      {"train.freeze[0]", 1024,
       [](v1::JobConfig& c, const std::string& t) { c.mutable_train()->add_freeze(t); }},
      {"labels.k", 256,
       [](v1::JobConfig& c, const std::string& t) { (*c.mutable_labels())["k"] = t; }},
      {"model.path", 4096,
       [](v1::JobConfig& c, const std::string& t) {
         c.mutable_model()->set_path("/" + t.substr(1));
       }},
  };
  for (const Case& c : cases) {
    v1::JobConfig config = Small();
    c.set(config, std::string(c.limit, 'x'));
    EXPECT_EQ(Paths(config), std::vector<std::string>()) << c.path;
    config = Small();
    c.set(config, std::string(c.limit + 1, 'x'));
    EXPECT_EQ(Paths(config), std::vector<std::string>{c.path});
  }
}

TEST(ConfigLimitsTest, BoundsListsAndTheWhole) {
  v1::JobConfig config = Small();
  for (int i = 1; i < 1000; ++i) config.mutable_data()->add_train()->set_path(absl::StrCat("/", i));
  EXPECT_EQ(Paths(config), std::vector<std::string>());
  config.mutable_data()->add_train()->set_path("/last");
  EXPECT_EQ(Paths(config), std::vector<std::string>{"data.train"});

  config = Small();
  for (int i = 0; i < 1001; ++i) config.mutable_train()->add_freeze("x");
  EXPECT_EQ(Paths(config), std::vector<std::string>{"train.freeze"});

  // Each path is legal, and all together are not.
  config = Small();
  for (int i = 0; i < 300; ++i) {
    config.mutable_data()->add_train()->set_path(absl::StrCat("/", std::string(3900, 'p'), "/", i));
  }
  const std::vector<ConfigViolation> violations = Violations(config);
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_TRUE(absl::StrContains(violations[0].message, "the limit is 1048576"))
      << violations[0].message;
}

TEST(ConfigLimitsTest, HugeListIsOneViolation) {
  v1::JobConfig config = Small();
  for (int i = 0; i < 300'000; ++i) config.mutable_data()->add_train();
  EXPECT_EQ(Paths(config), std::vector<std::string>{"data.train"});
}

TEST(ConfigLimitsTest, DoesNotEchoLongKeysWhole) {
  v1::JobConfig config = Small();
  (*config.mutable_labels())[std::string(500'000, 'k')] = "v";
  const std::vector<ConfigViolation> violations = Violations(config);
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_LT(violations[0].path.size() + violations[0].message.size(), 400u);
}

}  // namespace
}  // namespace trainerd
