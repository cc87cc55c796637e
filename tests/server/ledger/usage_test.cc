// SPDX-License-Identifier: Apache-2.0
// What a job uses: waits, stages, devices, tokens and lost steps, and the days on which they count.
#include "server/ledger/usage.h"

#include "absl/strings/str_cat.h"
#include "proto/contract/job/usage.h"
#include "server/store/rows/usage_rows.h"
#include "tests/server/test_env.h"

namespace trainerd::server {
namespace {

using Job = v1::Job;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

v1::Event At(double seconds, const std::string& text) {
  v1::Event event = FromText<v1::Event>(text);
  *event.mutable_time() = ToProto(kNow + absl::Seconds(seconds));
  return event;
}

TEST(UsageTest, WaitingCountsInTheQueueAndNotWhileHeld) {
  JobRecord record;
  CountWait(Job::QUEUED, Job::RESOURCES, kNow, &record);
  CountWait(Job::QUEUED, Job::HELD, kNow + absl::Seconds(10), &record);
  EXPECT_DOUBLE_EQ(record.job.usage().waiting_seconds(), 10);
  CountWait(Job::QUEUED, Job::BACKOFF, kNow + absl::Seconds(100), &record);
  EXPECT_DOUBLE_EQ(record.job.usage().waiting_seconds(), 10) << "held";
  CountWait(Job::STARTING, Job::WAIT_REASON_UNSPECIFIED, kNow + absl::Seconds(103), &record);
  EXPECT_DOUBLE_EQ(record.job.usage().waiting_seconds(), 13);
  CountWait(Job::PAUSED, Job::WAIT_REASON_UNSPECIFIED, kNow + absl::Seconds(200), &record);
  CountWait(Job::QUEUED, Job::DEPENDENCY, kNow + absl::Seconds(300), &record);
  CountWait(Job::CANCELLED, Job::WAIT_REASON_UNSPECIFIED, kNow + absl::Seconds(290), &record);
  EXPECT_DOUBLE_EQ(record.job.usage().waiting_seconds(), 13) << "a clock that went back";
}

TEST(UsageTest, PriorityAgesOnlyWhileTheJobCanHaveADevice) {
  JobRecord record;
  const auto since = [&] {
    return record.ledger.has_queued_since() ? FromProto(record.ledger.queued_since())
                                            : absl::InfinitePast();
  };
  CountWait(Job::QUEUED, Job::DEPENDENCY, kNow, &record);
  EXPECT_EQ(since(), absl::InfinitePast());
  CountWait(Job::QUEUED, Job::RESOURCES, kNow + absl::Seconds(5), &record);
  CountWait(Job::QUEUED, Job::QUOTA, kNow + absl::Seconds(9), &record);
  EXPECT_EQ(since(), kNow + absl::Seconds(5)) << "the wait goes on";
  CountWait(Job::STARTING, Job::WAIT_REASON_UNSPECIFIED, kNow + absl::Seconds(20), &record);
  EXPECT_EQ(since(), absl::InfinitePast());
  CountWait(Job::QUEUED, Job::PREEMPTED, kNow + absl::Seconds(30), &record);
  EXPECT_EQ(since(), kNow + absl::Seconds(30)) << "from anew";
}

TEST(UsageTest, StagesFollowTheEventsOfTheWorker) {
  JobRecord record;
  BeginAttemptUsage(kNow, &record);
  CountEvent(At(0, "stage {stage: 'OpenModel'}"), &record);
  CountEvent(At(2, "stage {stage: 'OpenModel' fraction: 0.5}"), &record);
  CountEvent(At(3, "stage {stage: 'OpenModel' finished: true}"), &record);
  CountEvent(At(4, "stage {stage: 'Train'}"), &record);
  CountEvent(At(6, "metrics {step: 1 tokens: 7 step_seconds: 1.5}"), &record);
  CountEvent(At(9, "checkpoint {kind: PUBLISHED write_time {seconds: 1 nanos: 500000000}}"),
             &record);
  CountEvent(At(9, "checkpoint {kind: VERIFIED write_time {seconds: 1}}"), &record);
  const v1::Usage& usage = record.job.usage();
  EXPECT_DOUBLE_EQ(usage.stage_seconds().at("OpenModel"), 3);
  EXPECT_DOUBLE_EQ(usage.stage_seconds().at("Train"), 5);
  EXPECT_DOUBLE_EQ(usage.checkpoint_seconds(), 1.5);
  EXPECT_EQ(usage.tokens(), 7);
}

TEST(UsageTest, DeviceTimeIsThatOfAllDevicesUpToTheEnd) {
  JobRecord record;
  record.job.add_devices("cuda:0");
  record.job.add_devices("cuda:1");
  CountDeviceTime(kNow, &record);
  EXPECT_FALSE(record.job.has_usage()) << "no attempt";
  BeginAttemptUsage(kNow, &record);
  CountDeviceTime(kNow + absl::Seconds(5), &record);
  EXPECT_DOUBLE_EQ(record.job.usage().device_seconds(), 10);
  EndAttemptUsage(kNow + absl::Seconds(8), /*machine_restarted=*/false, 0, &record);
  EXPECT_DOUBLE_EQ(record.job.usage().device_seconds(), 16);
  CountDeviceTime(kNow + absl::Seconds(100), &record);
  EXPECT_DOUBLE_EQ(record.job.usage().device_seconds(), 16);
  BeginAttemptUsage(kNow + absl::Seconds(100), &record);
  EndAttemptUsage(kNow + absl::Hours(9), /*machine_restarted=*/true, 0, &record);
  EXPECT_DOUBLE_EQ(record.job.usage().device_seconds(), 16) << "nobody knows when it ended";
}

TEST(UsageTest, LostIsTheTimeOfTheStepsThatNoCheckpointHolds) {
  JobRecord record;
  BeginAttemptUsage(kNow, &record);
  for (int step = 1; step <= 4; ++step)
    CountEvent(At(step, absl::StrCat("metrics {step: ", step, " step_seconds: ", step, "}")),
               &record);
  JobRecord all = record, none = record;
  JobRecord unmeasured;
  BeginAttemptUsage(kNow, &unmeasured);
  for (const char* text : {"stage {stage: 'Train'}", "metrics {step: 1}", "metrics {step: 2}"})
    CountEvent(At(3 * unmeasured.usage.attempt_steps() + 3, text), &unmeasured);
  EndAttemptUsage(kNow, false, 2, &unmeasured);
  EXPECT_DOUBLE_EQ(unmeasured.job.usage().lost_device_seconds(), 3) << "by the times of the events";
  EndAttemptUsage(kNow, false, 1, &record);
  EXPECT_DOUBLE_EQ(record.job.usage().lost_device_seconds(), 2.5) << "of the mean length";
  EndAttemptUsage(kNow, false, 99, &all);
  EXPECT_DOUBLE_EQ(all.job.usage().lost_device_seconds(), 10);
  EndAttemptUsage(kNow, false, 0, &none);
  EXPECT_DOUBLE_EQ(none.job.usage().lost_device_seconds(), 0);
}

class UsageRowsTest : public ::testing::Test {
 protected:
  UsageRowsTest() {
    auto store = Store::Open({.path = dir_ / "trainerd.db",
                              .clock = clock_.Function(),
                              .steady_clock = clock_.Function()});
    EXPECT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  std::vector<UsageRow> Rows() {
    std::vector<UsageRow> rows;
    EXPECT_OK(store_->Read([&](Connection& db) {
      return ReadUsageRows(db, INT64_MIN, INT64_MAX, [&](UsageRow row) { rows.push_back(row); });
    }));
    return rows;
  }
  TempDir dir_;
  FakeClock clock_;
  std::unique_ptr<Store> store_;
};

TEST_F(UsageRowsTest, EachDayGetsWhatWasCountedOnIt) {
  JobRecord record = AddJob(*store_, "a", dir_ / "a");
  ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
    record.job.mutable_usage()->set_tokens(5);
    if (auto kept = KeepUsage(t, 10, &record); !kept.ok()) return kept;
    if (auto kept = KeepUsage(t, 10, &record); !kept.ok()) return kept;
    record.job.mutable_usage()->set_tokens(7);
    if (auto kept = KeepUsage(t, 10, &record); !kept.ok()) return kept;
    record.job.mutable_usage()->set_tokens(8);
    (*record.job.mutable_usage()->mutable_stage_seconds())["Train"] = 2;
    if (auto kept = KeepUsage(t, 11, &record); !kept.ok()) return kept;
    return StoreJob(t.db(), &record);
  }));
  const std::vector<UsageRow> rows = Rows();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].day, 10);
  EXPECT_EQ(rows[0].usage.tokens(), 7);
  EXPECT_EQ(rows[1].day, 11);
  EXPECT_EQ(rows[1].usage.tokens(), 1);
  EXPECT_DOUBLE_EQ(rows[1].usage.stage_seconds().at("Train"), 2);
  EXPECT_EQ(Load(*store_, "a").job.usage().tokens(), 8) << "the job has the sum";
  EXPECT_EQ(Load(*store_, "a").usage.stored().tokens(), 8);
}

TEST_F(UsageRowsTest, UsageOutlivesItsJobAndAnotherOneOfTheSameId) {
  for (int round = 1; round <= 2; ++round) {
    JobRecord record = AddJob(*store_, "a", dir_ / "a", "labels: {team: blue}");
    ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
      record.job.mutable_usage()->set_tokens(round);
      if (auto kept = KeepUsage(t, 10, &record); !kept.ok()) return kept;
      return DeleteJobRows(t.db(), "a");
    }));
    ASSERT_OK(store_->Change([&](Transaction& t) {
      v1::Event event;
      event.set_job("jobs/a");
      event.mutable_notice()->set_code("JOB_DELETED");
      return t.Append(event);
    }));
  }
  AddJob(*store_, "a", dir_ / "a", "labels: {team: red}");
  const std::vector<UsageRow> rows = Rows();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].usage.tokens() + rows[1].usage.tokens(), 3);
  for (const UsageRow& row : rows) {
    EXPECT_TRUE(IsDeletedJob(row.job)) << row.job;
    auto labels = store_->Read([&](Connection& db) { return LabelsOfDeleted(db, row.job); });
    ASSERT_OK(labels.status());
    EXPECT_EQ(labels->labels().at("team"), "blue");
  }
}

TEST(UsageSumTest, DifferenceAndSumAreInverse) {
  const auto before = FromText<v1::Usage>(
      "waiting_seconds: 1 device_seconds: 4 tokens: 3 stage_seconds {key: 'Train' value: 2}");
  const auto now = FromText<v1::Usage>(
      "waiting_seconds: 1 device_seconds: 9 lost_device_seconds: 1 checkpoint_seconds: 2 tokens: 5 "
      "stage_seconds {key: 'Train' value: 2} stage_seconds {key: 'SaveFinal' value: 3}");
  v1::Usage sum = UsageSince(before, now);
  EXPECT_EQ(sum.stage_seconds().count("Train"), 0u);
  EXPECT_FALSE(IsZero(sum));
  AddUsage(before, &sum);
  EXPECT_EQ(sum.DebugString(), now.DebugString());
  EXPECT_TRUE(IsZero(UsageSince(now, now)));
  EXPECT_TRUE(IsZero(v1::Usage()));
}

TEST(UsageDayTest, DaysBeginAtMidnightInUtc) {
  EXPECT_EQ(UsageDay(absl::FromUnixSeconds(0)), 0);
  EXPECT_EQ(UsageDay(absl::FromUnixSeconds(86'399)), 0);
  EXPECT_EQ(UsageDay(absl::FromUnixSeconds(86'400)), 1);
}

}  // namespace
}  // namespace trainerd::server
