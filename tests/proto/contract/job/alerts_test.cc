// SPDX-License-Identifier: Apache-2.0
// Expectations: the comment of Job.alerts.
#include "proto/contract/job/alerts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace trainerd {
namespace {

v1::Alert Make(const std::string& type, bool active, int64_t step,
               v1::Alert::Severity severity = v1::Alert::WARNING) {
  v1::Alert alert;
  alert.set_type(type);
  alert.set_active(active);
  alert.set_step(step);
  alert.set_severity(severity);
  return alert;
}

// "type raised-step" for an active alert, "type raised-cleared" for a past one.
std::string Text(const v1::Job& job) {
  std::string text;
  for (const v1::Alert& alert : job.alerts()) {
    absl::StrAppend(&text, alert.type(), " ", alert.step());
    if (!alert.active()) absl::StrAppend(&text, "-", alert.cleared_step());
    absl::StrAppend(&text, "; ");
  }
  return text;
}

TEST(JobAlertsTest, ListsActiveOnesBySeverityThenPastOnes) {
  v1::Job job;
  ApplyAlert(Make("plateau", true, 50, v1::Alert::INFO), &job);
  ApplyAlert(Make("loss_spike", true, 60), &job);
  ApplyAlert(Make("diverged", true, 70, v1::Alert::CRITICAL), &job);
  EXPECT_EQ(Text(job), "diverged 70; loss_spike 60; plateau 50; ");
  ApplyAlert(Make("loss_spike", false, 75), &job);
  ApplyAlert(Make("plateau", false, 80), &job);
  EXPECT_EQ(Text(job), "diverged 70; plateau 50-80; loss_spike 60-75; ");
  EXPECT_EQ(ActiveCriticalAlerts(job), "diverged");
  ApplyAlert(Make("loss_spike", true, 90), &job);
  EXPECT_EQ(Text(job), "diverged 70; loss_spike 90; plateau 50-80; ");
  ApplyAlert(Make("diverged", false, 95), &job);
  EXPECT_EQ(ActiveCriticalAlerts(job), "");
}

TEST(JobAlertsTest, IgnoresClearedAlertThatWasNeverRaised) {
  v1::Job job;
  ApplyAlert(Make("loss_spike", false, 5), &job);
  EXPECT_EQ(Text(job), "");
}

TEST(JobAlertsTest, KeepsABoundedNumber) {
  v1::Job job;
  for (int i = 0; i < 100; ++i) ApplyAlert(Make(absl::StrCat("t", i), true, i), &job);
  EXPECT_EQ(job.alerts_size(), kMaxJobAlerts);
  EXPECT_EQ(job.alerts(0).type(), "t99");
}

TEST(JobAlertsTest, RewindsToTheStepOfTheCheckpoint) {
  v1::Job job;
  ApplyAlert(Make("plateau", true, 10), &job);
  ApplyAlert(Make("plateau", false, 30), &job);
  ApplyAlert(Make("loss_spike", true, 5), &job);
  ApplyAlert(Make("loss_spike", false, 15), &job);
  ApplyAlert(Make("diverged", true, 21), &job);
  ApplyAlert(Make("throughput_drop", true, 8), &job);
  RewindAlerts(20, &job);
  EXPECT_EQ(Text(job), "plateau 10; throughput_drop 8-20; loss_spike 5-15; ");
  RewindAlerts(0, &job);
  EXPECT_EQ(Text(job), "");
}

TEST(JobAlertsTest, WritesOneLine) {
  v1::Alert alert = Make("diverged", true, 12, v1::Alert::CRITICAL);
  alert.set_message("loss 9");
  EXPECT_EQ(AlertText(alert), "diverged (CRITICAL) active since step 12: loss 9");
  alert.set_active(false);
  alert.set_cleared_step(20);
  EXPECT_EQ(AlertText(alert), "diverged (CRITICAL) from step 12 to 20: loss 9");
}

}  // namespace
}  // namespace trainerd
