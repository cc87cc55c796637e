// SPDX-License-Identifier: Apache-2.0
// What a queued job waits for, for every combination of what it can wait for.
#include "server/ledger/queue_wait.h"

#include <gtest/gtest.h>

#include <optional>
#include <set>

#include "proto/base/time.h"

namespace trainerd::server {
namespace {

using Job = v1::Job;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

TEST(QueueWaitTest, FirstWaitThatIsNotOverCounts) {
  for (const int dependencies : {0, 1, 3}) {
    for (const std::optional<absl::Duration> start :
         {std::optional<absl::Duration>(), std::optional(-absl::Hours(9)),
          std::optional(-absl::Nanoseconds(1)), std::optional(absl::ZeroDuration()),
          std::optional(absl::Nanoseconds(1)), std::optional(absl::Hours(9))}) {
      JobRecord record;
      for (int i = 0; i < dependencies; ++i) record.ledger.add_pending_dependencies(i);
      if (start) *record.job.mutable_config()->mutable_not_before() = ToProto(kNow + *start);
      Job::WaitReason expected = Job::RESOURCES;
      if (start && *start > absl::ZeroDuration()) expected = Job::NOT_BEFORE;
      if (dependencies > 0) expected = Job::DEPENDENCY;
      EXPECT_EQ(NextWait(record, kNow), expected) << dependencies;
    }
  }
}

TEST(QueueWaitTest, EveryReasonEitherMayStartOrHasItsOwnEnd) {
  const std::set<Job::WaitReason> start = {
      Job::WAIT_REASON_UNSPECIFIED, Job::RESOURCES, Job::BACKOFF, Job::PREEMPTED,
      Job::EXECUTOR_UNREACHABLE,    Job::QUOTA,     Job::DRAIN};
  for (int number = 0; number <= Job::WaitReason_MAX; ++number) {
    if (!Job::WaitReason_IsValid(number)) continue;
    const auto reason = static_cast<Job::WaitReason>(number);
    EXPECT_EQ(MayStart(reason), start.count(reason) > 0) << Job::WaitReason_Name(reason);
    EXPECT_EQ(WaitsForDevice(reason), reason == Job::RESOURCES || reason == Job::PREEMPTED ||
                                          reason == Job::QUOTA || reason == Job::DRAIN);
  }
}

}  // namespace
}  // namespace trainerd::server
