// SPDX-License-Identifier: Apache-2.0
// Expectations are the rule of the command line: jobs/ID, ID, unique prefix, unique display name,
// latest.
#include "client/net/job_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;

const std::vector<JobLabel> kJobs = {{"jobs/4f0000000003", "sft"},
                                     {"jobs/4f1000000002", "sft"},
                                     {"jobs/be1000000001", "4f"},
                                     {"jobs/4f", "short"}};

std::string Match(const std::string& text, const std::vector<JobLabel>& jobs = kJobs) {
  const absl::StatusOr<std::string> match = MatchJob(text, jobs);
  return match.ok() ? *match : "";
}

TEST(JobNamesTest, MatchesIdsPrefixesAndDisplayNames) {
  EXPECT_EQ(Match("jobs/4f0000000003"), "jobs/4f0000000003");
  EXPECT_EQ(Match("4f0000000003"), "jobs/4f0000000003");
  EXPECT_EQ(Match("4f1"), "jobs/4f1000000002");
  EXPECT_EQ(Match("jobs/b"), "jobs/be1000000001");
  EXPECT_EQ(Match("short"), "jobs/4f");
}

TEST(JobNamesTest, PrefersAnExactId) { EXPECT_EQ(Match("4f"), "jobs/4f"); }

TEST(JobNamesTest, RefusesSeveralMatchesWithTheirNames) {
  const absl::Status by_name = MatchJob("sft", kJobs).status();
  EXPECT_EQ(by_name.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(by_name.message()),
              HasSubstr("jobs/4f0000000003 (sft), jobs/4f1000000002 (sft)"));
  // A prefix of one job and the display name of another: neither is guessed.
  EXPECT_EQ(MatchJob("ab", {{"jobs/ab1", "x"}, {"jobs/cd2", "ab"}}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(JobNamesTest, DoesNotMatchDisplayNamesAfterJobsSlash) { EXPECT_EQ(Match("jobs/short"), ""); }

TEST(JobNamesTest, ReportsThatNothingMatches) {
  for (const char* text : {"zz", "", "jobs/", "SFT"}) {
    EXPECT_EQ(MatchJob(text, kJobs).status().code(), absl::StatusCode::kNotFound) << text;
  }
  EXPECT_THAT(std::string(MatchJob("zz", kJobs).status().message()), HasSubstr("trainctl ls"));
}

}  // namespace
}  // namespace trainerd::client
