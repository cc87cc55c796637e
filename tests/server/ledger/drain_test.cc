// SPDX-License-Identifier: Apache-2.0
// What a drain does next with a job, for each state, and what repeated Drain calls add up to.
#include "server/ledger/drain.h"

#include <gtest/gtest.h>

#include "proto/base/time.h"

namespace trainerd::server {
namespace {

using Job = v1::Job;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

DrainOrder Pausing(std::optional<absl::Duration> deadline = std::nullopt) {
  DrainOrder order{.pause_running = true, .since = kNow};
  if (deadline.has_value()) order.deadline = kNow + *deadline;
  return order;
}

JobRecord Record(Job::State state) {
  JobRecord record;
  record.job.set_state(state);
  *record.job.mutable_config()->mutable_limits()->mutable_stop_grace() =
      ToProto(absl::Seconds(300));
  return record;
}

TEST(DrainTest, RequeuesWhatRunsAndNothingElse) {
  for (int number = 0; number <= Job::State_MAX; ++number) {
    const auto state = static_cast<Job::State>(number);
    JobRecord record = Record(state);
    *record.ledger.mutable_end_deadline() = ToProto(kNow);
    const bool runs = state == Job::STARTING || state == Job::RUNNING;
    EXPECT_EQ(NextDrainStep(record, Pausing(), kNow), runs ? DrainStep::kRequeue : DrainStep::kNone)
        << Job::State_Name(state);
    EXPECT_EQ(NextDrainStep(record, {}, kNow), DrainStep::kNone)
        << "without pause_running " << Job::State_Name(state);
  }
}

TEST(DrainTest, AJobWithoutAnAttemptAwaitsItsEvaluation) {
  JobRecord record = Record(Job::RUNNING);
  record.ledger.set_awaiting_evaluation(true);
  EXPECT_EQ(NextDrainStep(record, Pausing(absl::ZeroDuration()), kNow), DrainStep::kNone);
}

TEST(DrainTest, TheFinalModelMayBeSavedUntilTheDeadline) {
  JobRecord record = Record(Job::RUNNING);
  record.ledger.set_save_final_begun(true);
  const DrainOrder order = Pausing(absl::Seconds(60));
  EXPECT_EQ(NextDrainStep(record, order, kNow + absl::Seconds(59)), DrainStep::kNone);
  EXPECT_EQ(NextDrainStep(record, order, kNow + absl::Seconds(60)), DrainStep::kRequeue);
  EXPECT_EQ(NextDrainStep(record, Pausing(), kNow + absl::Seconds(299)), DrainStep::kNone);
  EXPECT_EQ(NextDrainStep(record, Pausing(), kNow + absl::Seconds(300)), DrainStep::kRequeue)
      << "limits.stop_grace";
}

TEST(DrainTest, ShortensAnEndInProgressAndNeverExtendsIt) {
  for (const Job::State state : {Job::PAUSING, Job::STOPPING}) {
    JobRecord record = Record(state);
    EXPECT_EQ(NextDrainStep(record, Pausing(), kNow), DrainStep::kShorten) << "no deadline yet";
    for (const int seconds : {0, 59, 60, 61, 86'400}) {
      *record.ledger.mutable_end_deadline() = ToProto(kNow + absl::Seconds(seconds));
      EXPECT_EQ(NextDrainStep(record, Pausing(absl::Seconds(60)), kNow),
                seconds > 60 ? DrainStep::kShorten : DrainStep::kNone)
          << seconds;
    }
  }
}

TEST(DrainTest, RepeatedCallsOnlyBecomeMoreSevere) {
  const DrainOrder plain{.since = kNow};
  EXPECT_EQ(MergeDrains(std::nullopt, plain), plain);
  EXPECT_EQ(MergeDrains(plain, Pausing()), Pausing());
  EXPECT_EQ(MergeDrains(Pausing(), plain), Pausing()) << "it stays pause_running";
  const DrainOrder minute = Pausing(absl::Minutes(1)), hour = Pausing(absl::Hours(1));
  EXPECT_EQ(MergeDrains(minute, hour), minute);
  EXPECT_EQ(MergeDrains(hour, minute), minute);
  EXPECT_EQ(MergeDrains(minute, Pausing()), minute);
  EXPECT_EQ(MergeDrains(Pausing(), hour), hour);
  DrainOrder later = minute;
  later.since += absl::Seconds(5);
  EXPECT_EQ(MergeDrains(minute, later).since, kNow);
}

TEST(DrainTest, ReadsTheRowsOfEarlierVersions) {
  internal::JobLedger ledger;
  EXPECT_EQ(RequeueReasonOf(ledger), internal::REQUEUE_REASON_UNSPECIFIED);
  ledger.set_requeue_reason(internal::REQUEUE_DRAIN);
  EXPECT_EQ(RequeueReasonOf(ledger), internal::REQUEUE_DRAIN);
  ledger.set_requeue_reason(internal::REQUEUE_ATTEMPT_TIME);
  EXPECT_EQ(RequeueReasonOf(ledger), internal::REQUEUE_ATTEMPT_TIME);
  ledger.set_requeue_reason(internal::REQUEUE_PREEMPTED);
  EXPECT_EQ(RequeueReasonOf(ledger), internal::REQUEUE_DRAIN) << "as a drain was stored";
  ledger.set_preempted_by("jobs/b");
  EXPECT_EQ(RequeueReasonOf(ledger), internal::REQUEUE_PREEMPTED);
}

}  // namespace
}  // namespace trainerd::server
