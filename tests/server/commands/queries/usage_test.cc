// SPDX-License-Identifier: Apache-2.0
// QueryUsage over jobs, days, owners and labels.
#include "server/commands/queries/usage.h"

#include "absl/strings/str_cat.h"
#include "proto/contract/job/usage.h"
#include "server/ledger/usage.h"
#include "server/store/rows/usage_rows.h"
#include "tests/server/commands/job_manager_fixture.h"

namespace trainerd::server {
namespace {

using Group = v1::QueryUsageResponse::Group;

class QueryUsageTest : public JobManagerTest {
 protected:
  // The job has used so much on that day.
  void Uses(const std::string& id, int64_t day, double device_seconds, int64_t tokens) {
    JobRecord record = Load(*store_, id);
    ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
      v1::Usage used;
      used.set_device_seconds(device_seconds);
      used.set_tokens(tokens);
      AddUsage(used, record.job.mutable_usage());
      if (absl::Status kept = KeepUsage(t, day, &record); !kept.ok()) return kept;
      return StoreJob(t.db(), &record);
    }));
  }
  v1::QueryUsageResponse Ask(const std::string& request) {
    const auto response = QueryUsage(*store_, FromText<v1::QueryUsageRequest>(request));
    EXPECT_TRUE(response.ok()) << response.status();
    return response.ok() ? *response : v1::QueryUsageResponse();
  }
  static std::string Text(const v1::QueryUsageResponse& response) {
    std::string text;
    for (const Group& group : response.groups())
      absl::StrAppend(&text, group.key(), ":", group.job_count(), ":",
                      group.usage().device_seconds(), ":", group.usage().tokens(), " ");
    return text;
  }
  std::string Error(const std::string& request) {
    const auto response = QueryUsage(*store_, FromText<v1::QueryUsageRequest>(request));
    EXPECT_TRUE(absl::IsInvalidArgument(response.status())) << response.status();
    return std::string(response.status().message());
  }
};

constexpr char kDay11[] = "start_time {seconds: 950400}";  // 11 × 86,400

TEST_F(QueryUsageTest, SumsAllJobsAndTheDeletedOnes) {
  EXPECT_EQ(Text(Ask("")), "");
  const std::string a = JobId(Submit().name()), b = JobId(Submit().name());
  Uses(a, 10, 5, 1);
  Uses(a, 12, 6, 2);
  Uses(b, 12, 100, 4);
  EXPECT_EQ(Text(Ask("")), ":2:111:7 ");
  EXPECT_EQ(Text(Ask(kDay11)), ":2:106:6 ");
  EXPECT_EQ(Text(Ask("end_time {seconds: 950400}")), ":1:5:1 ");
  ASSERT_OK(store_->Change([&](Transaction& t) { return DeleteJobRows(t.db(), a); }));
  EXPECT_EQ(Text(Ask("")), ":2:111:7 ");
}

TEST_F(QueryUsageTest, GroupsByDayOwnerAndLabel) {
  const std::string a = JobId(Submit("labels: {team: red}").name());
  const std::string b = JobId(Submit("labels: {team: blue}").name());
  const std::string c = JobId(Submit("labels: {other: x}").name());
  Uses(a, 12, 6, 0);
  Uses(a, 11, 1, 0);
  Uses(b, 12, 100, 0);
  Uses(c, 12, 10, 0);
  EXPECT_EQ(Text(Ask("group_by: 'day'")), "1970-01-12:1:1:0 1970-01-13:3:116:0 ");
  EXPECT_EQ(Text(Ask("group_by: 'owner'")), Load(*store_, a).job.owner() + ":3:117:0 ");
  EXPECT_EQ(Text(Ask("group_by: 'label:team'")), "blue:1:100:0 :1:10:0 red:1:7:0 ");
  EXPECT_EQ(Text(Ask("label_selector: 'team in (red, blue)'")), ":2:107:0 ");
  EXPECT_EQ(Text(Ask("label_selector: '!team' group_by: 'day'")), "1970-01-13:1:10:0 ");
  ASSERT_OK(store_->Change([&](Transaction& t) { return DeleteJobRows(t.db(), b); }));
  EXPECT_EQ(Text(Ask("group_by: 'label:team'")), "blue:1:100:0 :1:10:0 red:1:7:0 ");
}

TEST_F(QueryUsageTest, CountsAJobThatStillRuns) {
  const std::string a = JobId(Submit().name()), b = JobId(Submit().name());
  Uses(b, UsageDay(clock_.Now()) - 1, 3, 0);
  for (const std::string& id : {a, b}) {
    SetState(id, v1::Job::RUNNING);
    JobRecord record = Load(*store_, id);
    ASSERT_OK(store_->Change([&](Transaction& t) {
      BeginAttemptUsage(t.steady_now() - absl::Seconds(50), &record);
      CountDeviceTime(t.steady_now(), &record);
      return StoreProgress(t.db(), &record);
    }));
  }
  EXPECT_EQ(Text(Ask("")), ":2:103:0 ");
}

TEST_F(QueryUsageTest, MoreThanAThousandGroupsAreSummedUp) {
  ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
    for (int day = 0; day < 1'005; ++day) {
      v1::Usage usage;
      usage.set_tokens(2);
      if (absl::Status added =
              AddUsageRow(t.db(), {.job = "x~1", .day = day, .owner = "o", .usage = usage});
          !added.ok())
        return added;
    }
    return absl::OkStatus();
  }));
  const v1::QueryUsageResponse response = Ask("group_by: 'day'");
  EXPECT_EQ(response.groups_size(), 1'000);
  EXPECT_EQ(response.others().usage().tokens(), 10);
  EXPECT_EQ(response.others().job_count(), 5);
  EXPECT_FALSE(Ask("group_by: 'owner'").has_others());
}

TEST_F(QueryUsageTest, RefusesWhatItCannotAnswer) {
  EXPECT_NE(Error("group_by: 'job'").find("owner, day or label:KEY"), std::string::npos);
  Error("group_by: 'label:'");
  Error("group_by: 'label:a b'");
  EXPECT_NE(Error("start_time {seconds: 5}").find("beginning of a day"), std::string::npos);
  Error("end_time {seconds: 86400 nanos: 1}");
  EXPECT_NE(Error("start_time {seconds: 86400} end_time {seconds: 86400}").find("not after"),
            std::string::npos);
  EXPECT_NE(Error("label_selector: 'a in'").find("label_selector"), std::string::npos);
}

}  // namespace
}  // namespace trainerd::server
