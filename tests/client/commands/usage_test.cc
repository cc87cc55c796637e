// SPDX-License-Identifier: Apache-2.0
// What trainctl usage requests and prints, and the grace of pause and stop.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/fake_daemon.h"

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class UsageTest : public ::testing::Test {
 protected:
  UsageTest() : daemon_(&store_, SocketOf(folder_.path())) {}
  RunResult Run(const std::vector<std::string>& arguments) {
    return Trainctl(folder_.path(), arguments);
  }
  static void Fill(double device_seconds, v1::Usage* usage) {
    usage->set_device_seconds(device_seconds);
    usage->set_lost_device_seconds(60);
    usage->set_waiting_seconds(7);
    usage->set_checkpoint_seconds(3);
    usage->set_tokens(12345);
    (*usage->mutable_stage_seconds())["Train"] = 3000;
    (*usage->mutable_stage_seconds())["LoadWeights"] = 5;
  }

  TempDir folder_;
  FakeStore store_;
  FakeDaemon daemon_;
};

TEST_F(UsageTest, PrintsTheUsageOfAJobByStage) {
  Fill(7200, store_.AddJob("4f0123456789", "sft", v1::Job::RUNNING).mutable_usage());
  const std::string out = Run({"usage", "sft"}).out;
  for (const char* part :
       {"device time       2h00m", "of it lost        1m00s", "waiting           7s",
        "tokens            12,345", "stage Train       50m00s"})
    EXPECT_THAT(out, HasSubstr(part));
  EXPECT_LT(out.find("stage Train"), out.find("stage LoadWeights")) << "the longest first";
  EXPECT_THAT(Run({"usage", "sft", "-o", "json"}).out, HasSubstr("\"tokens\": 12345"));
  EXPECT_EQ(Run({"usage", "nobody"}).code, kRefused);
  EXPECT_EQ(Run({"usage", "sft", "--by", "day"}).code, kUsage);
  EXPECT_TRUE(store_.usage_requests.empty());
}

TEST_F(UsageTest, RequestsAPeriodAndPrintsItsGroups) {
  auto* blue = store_.usage.add_groups();
  blue->set_key("blue");
  blue->set_job_count(3);
  Fill(3600, blue->mutable_usage());
  Fill(60, store_.usage.add_groups()->mutable_usage());
  store_.usage.mutable_others()->set_job_count(9);
  const RunResult result = Run({"usage", "--since", "2026-12-01", "--until", "2026-12-01", "--by",
                                "label:team", "--selector", "team"});
  EXPECT_EQ(result.code, kDone) << result.err;
  EXPECT_THAT(result.out, HasSubstr("GROUP"));
  EXPECT_THAT(result.out, HasSubstr("1h00m"));
  EXPECT_THAT(result.out, HasSubstr("(others)"));
  const v1::QueryUsageRequest request = store_.usage_requests.back();
  EXPECT_EQ(request.start_time().seconds(), 1796083200);
  EXPECT_EQ(request.end_time().seconds(), 1796083200 + 86400) << "the last day is included";
  EXPECT_EQ(request.group_by(), "label:team");
  EXPECT_EQ(request.label_selector(), "team");
  EXPECT_THAT(Run({"usage", "-o", "json"}).out, HasSubstr("\"groups\""));
  EXPECT_FALSE(store_.usage_requests.back().has_start_time());
  const std::string lines = Run({"usage", "-o", "jsonl"}).out;
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 2);
}

TEST_F(UsageTest, ReportsWhatIsWrong) {
  for (const char* day : {"yesterday", "2026-13-01", "2026-12-01T00:00:00"}) {
    const RunResult wrong = Run({"usage", "--since", day});
    EXPECT_EQ(wrong.code, kUsage) << day;
    EXPECT_THAT(wrong.err, HasSubstr("YYYY-MM-DD"));
  }
  const RunResult refused = Run({"usage", "--by", "job"});
  EXPECT_EQ(refused.code, kUsage) << "INVALID_ARGUMENT";
  EXPECT_THAT(refused.err, HasSubstr("owner, day or label:KEY"));
  EXPECT_EQ(Run({"usage"}).out, "") << "nothing was used";
}

TEST_F(UsageTest, PauseAndStopSendTheirGrace) {
  store_.AddJob("4f0123456789", "sft", v1::Job::RUNNING);
  Run({"pause", "sft"});
  EXPECT_FALSE(store_.pauses.back().has_grace());
  Run({"pause", "sft", "--grace", "1h30m"});
  EXPECT_EQ(store_.pauses.back().grace().seconds(), 5400);
  Run({"stop", "sft", "--grace", "0"});
  EXPECT_TRUE(store_.stops.back().has_grace());
  EXPECT_EQ(store_.stops.back().grace().seconds(), 0);
  Run({"stop", "sft"});
  EXPECT_FALSE(store_.stops.back().has_grace());
  const size_t sent = store_.stops.size();
  EXPECT_EQ(Run({"stop", "sft", "--grace", "soon"}).code, kUsage);
  EXPECT_EQ(Run({"stop", "sft", "--force", "--grace", "5s"}).code, kUsage);
  EXPECT_EQ(store_.stops.size(), sent);
}

}  // namespace
}  // namespace trainerd::client
