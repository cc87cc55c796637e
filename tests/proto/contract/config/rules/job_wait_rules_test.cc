// SPDX-License-Identifier: Apache-2.0
// not_before: what a job file and what a client of gRPC can write.
#include "proto/contract/config/rules/job_wait_rules.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/contract/config/rules/job_config_rules.h"
#include "proto/contract/job_file/message_to_yaml.h"
#include "proto/contract/job_file/yaml_to_proto.h"

namespace trainerd {
namespace {

// The violations of a job file with this line.
std::string ViolationsOf(const std::string& line, v1::JobConfig* config) {
  const YamlResult read =
      YamlToMessage(absl::StrCat("model: {path: /m}\ndata: {train: [/d.jsonl]}\n", line), config);
  if (!read.violations.empty()) return ViolationsText(read.violations);
  std::vector<ConfigViolation> violations;
  *config = ResolveJobConfig(*config, {.now = absl::UnixEpoch()}, &violations).config();
  return ViolationsText(violations);
}

int64_t Seconds(const std::string& text) {
  v1::JobConfig config;
  EXPECT_EQ(ViolationsOf(absl::StrCat("not_before: ", text), &config), "") << text;
  return config.not_before().seconds();
}

TEST(JobWaitRulesTest, ReadsTimesWithZOrAnOffset) {
  constexpr int64_t kTime = 1'796'162'400;
  EXPECT_EQ(Seconds("2026-12-01T22:00:00Z"), kTime);
  EXPECT_EQ(Seconds("'2026-12-01T22:00:00Z'"), kTime);
  EXPECT_EQ(Seconds("2026-12-01T23:30:00+01:30"), kTime);
  EXPECT_EQ(Seconds("2026-12-01T17:00:00-05:00"), kTime);
  EXPECT_EQ(Seconds("2026-12-01T22:00:00.5Z"), kTime);
  EXPECT_EQ(Seconds("1970-01-01T00:00:00Z"), 0) << "a time in the past: at once";
  EXPECT_GT(Seconds("2199-12-31T23:59:59Z"), kTime);
}

TEST(JobWaitRulesTest, PrintsTheTimeSoThatItReadsBack) {
  v1::JobConfig config;
  ASSERT_EQ(ViolationsOf("not_before: 2026-12-01T23:30:00.25+01:30", &config), "");
  v1::JobConfig again;
  const YamlResult read = YamlToMessage(MessageToYaml(config), &again);
  EXPECT_EQ(ViolationsText(read.violations), "");
  EXPECT_EQ(again.not_before().seconds(), config.not_before().seconds());
  EXPECT_EQ(again.not_before().nanos(), 250'000'000);
}

TEST(JobWaitRulesTest, RefusesWhatIsNoTime) {
  for (const char* text : {"tomorrow", "2026-12-01", "2026-12-01T22:00:00", "22:00", "1796162400",
                           "2026-13-01T22:00:00Z", "2026-02-30T00:00:00Z", "2026-12-01T25:00:00Z",
                           "2026-12-01T22:00:00+1", "true", "[2026-12-01T22:00:00Z]", "''"}) {
    v1::JobConfig config;
    const std::string violations = ViolationsOf(absl::StrCat("not_before: ", text), &config);
    EXPECT_TRUE(absl::StrContains(violations, "not_before: ")) << text << ": " << violations;
  }
}

TEST(JobWaitRulesTest, RefusesFarYearsWithAdvice) {
  for (const char* text : {"2200-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1969-12-31T23:59:59Z",
                           "0001-01-01T00:00:00Z"}) {
    v1::JobConfig config;
    const std::string violations = ViolationsOf(absl::StrCat("not_before: ", text), &config);
    EXPECT_TRUE(absl::StrContains(violations, "suspended: true")) << text << ": " << violations;
  }
}

// A client can send any number.
TEST(JobWaitRulesTest, RefusesTimestampsThatAreNone) {
  for (const auto& [seconds, nanos] : std::vector<std::pair<int64_t, int32_t>>{
           {INT64_MAX, 0}, {INT64_MIN, 0}, {0, -1}, {0, 1'000'000'000}, {0, INT32_MIN}}) {
    v1::JobConfig config;
    config.mutable_model()->set_path("/m");
    config.mutable_data()->add_train()->set_path("/d.jsonl");
    config.mutable_not_before()->set_seconds(seconds);
    config.mutable_not_before()->set_nanos(nanos);
    std::vector<ConfigViolation> violations;
    ResolveJobConfig(config, {.now = absl::UnixEpoch()}, &violations);
    ASSERT_EQ(violations.size(), 1u) << seconds << " " << nanos;
    EXPECT_EQ(violations[0].path, "not_before");
  }
}

}  // namespace
}  // namespace trainerd
