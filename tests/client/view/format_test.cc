// SPDX-License-Identifier: Apache-2.0
// Expectations are the forms that the header states.
#include "client/view/format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/base/format.h"

namespace trainerd::client {
namespace {

using ::testing::HasSubstr;

TEST(FormatTest, FormatsNumbers) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1234567), "1,234,567");
  EXPECT_EQ(FormatCount(-1234), "-1,234");
  EXPECT_EQ(FormatPercent(0.999), "99 %") << "100 % only when it is done";
}

TEST(FormatTest, DescribesWaitReasonAndRequests) {
  v1::Job job;
  job.set_state(v1::Job::QUEUED);
  job.set_desired_state(v1::Job::DESIRED_RUN);
  job.set_wait_reason(v1::Job::RESOURCES);
  EXPECT_EQ(DescribeState(job), "QUEUED (RESOURCES)");
  job.clear_wait_reason();
  job.set_state(v1::Job::RUNNING);
  EXPECT_EQ(DescribeState(job), "RUNNING");
  job.set_desired_state(v1::Job::DESIRED_PAUSE);
  EXPECT_EQ(DescribeState(job), "RUNNING (pause requested)");
  job.set_state(v1::Job::PAUSED);
  EXPECT_EQ(DescribeState(job), "PAUSED");
  job.set_state(v1::Job::STOPPED);
  job.set_desired_state(v1::Job::DESIRED_STOP);
  EXPECT_EQ(DescribeState(job), "STOPPED");
}

TEST(FormatTest, SaysWhatIsMissingOnAFullDisk) {
  v1::Job job;
  job.set_state(v1::Job::QUEUED);
  job.set_desired_state(v1::Job::DESIRED_RUN);
  job.set_wait_reason(v1::Job::DISK);
  EXPECT_EQ(DescribeState(job), "QUEUED (DISK)");
  EXPECT_EQ(WaitsFor(job, absl::UnixEpoch()), "waits for space");
  v1::Job::Condition* condition = job.add_conditions();
  condition->set_type("DiskLow");
  condition->set_active(true);
  condition->set_message("12 MiB are missing");
  EXPECT_EQ(WaitsFor(job, absl::UnixEpoch()), "waits for space: 12 MiB are missing");
}

TEST(FormatTest, ParsesSpansAndStates) {
  EXPECT_EQ(*ParseSpan("30s"), absl::Seconds(30));
  EXPECT_EQ(*ParseSpan("1h30m"), absl::Minutes(90));
  EXPECT_EQ(*ParseSpan("2.5"), absl::Milliseconds(2500));
  for (const char* bad : {"", "soon", "-5s", "inf", "nan"})
    EXPECT_FALSE(ParseSpan(bad).ok()) << bad;
  EXPECT_EQ(*ParseState("paused"), v1::Job::PAUSED);
  EXPECT_THAT(std::string(ParseState("PAUSE").status().message()), HasSubstr("PAUSING, PAUSED"));
  EXPECT_FALSE(ParseState("STATE_UNSPECIFIED").ok());
}

}  // namespace
}  // namespace trainerd::client
