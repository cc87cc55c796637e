// SPDX-License-Identifier: Apache-2.0
// The explanation of a job in every state and for every wait.
#include "server/commands/queries/explain.h"

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "proto/contract/job/job_state.h"
#include "server/store/daemon_user.h"
#include "tests/server/commands/job_manager_fixture.h"

namespace trainerd::server {
namespace {

using Job = v1::Job;

class ExplainTest : public JobManagerTest {
 protected:
  v1::Explanation Why(const std::string& name) {
    v1::ExplainJobRequest request;
    request.set_name(name);
    const auto why = jobs_->Explain(request);
    EXPECT_TRUE(why.ok()) << why.status();
    return why.ok() ? *why : v1::Explanation();
  }
  static std::string Commands(const v1::Explanation& why) {
    std::vector<std::string> commands;
    for (const auto& action : why.actions()) commands.push_back(action.command());
    return absl::StrJoin(commands, "; ");
  }
  void OneCpu(const std::string& holder = "") {
    v1::Device cpu;
    cpu.set_name("cpu");
    devices_.Set({cpu});
    if (!holder.empty()) devices_.Hold({"cpu"}, holder);
  }
};

TEST_F(ExplainTest, EveryStateHasASummary) {
  const std::string name = Submit().name();
  for (int number = Job::QUEUED; number <= Job::State_MAX; ++number) {
    if (!Job::State_IsValid(number)) continue;
    SetState(JobId(name), static_cast<Job::State>(number), name + "/checkpoints/c");
    EXPECT_NE(Why(name).summary(), "") << number;
  }
  EXPECT_TRUE(absl::StrContains(Commands(Why(name)), "submit --from " + name)) << "it has FAILED";
}

TEST_F(ExplainTest, EveryWaitHasItsReasonFirst) {
  const std::string name = Submit().name();
  for (int number = Job::RESOURCES; number <= Job::WaitReason_MAX; ++number) {
    if (!Job::WaitReason_IsValid(number) || number == Job::DEPENDENCY) continue;
    JobRecord record = Load(*store_, JobId(name));
    record.job.set_wait_reason(static_cast<Job::WaitReason>(number));
    ASSERT_OK(store_->Change([&](Transaction& t) { return StoreJob(t.db(), &record); }));
    const v1::Explanation why = Why(name);
    ASSERT_GT(why.reasons_size(), 0) << number;
    EXPECT_EQ(why.reasons(0).code(), Job::WaitReason_Name(static_cast<Job::WaitReason>(number)));
    EXPECT_NE(why.summary(), "");
  }
}

TEST_F(ExplainTest, HeldJobNamesResume) {
  const std::string name = Submit("suspended: true").name();
  const v1::Explanation why = Why(name);
  EXPECT_EQ(Commands(why), "trainctl resume " + name);
  EXPECT_FALSE(why.has_queue_position());
}

TEST_F(ExplainTest, StartTimeIsTheEstimate) {
  const Job job = Submit("not_before: 2199-01-01T00:00:00Z");
  const v1::Explanation why = Why(job.name());
  EXPECT_EQ(why.estimated_start_time().seconds(), job.not_before().seconds());
  EXPECT_EQ(why.summary(), "waits until 2199-01-01T00:00:00Z");
}

TEST_F(ExplainTest, DependencyNamesTheOtherJobAndItsState) {
  const std::string first = Submit("suspended: true").name(), second = Submit().name();
  const std::string name =
      Submit("depends_on: [{job: " + first + "}, {job: " + second + ", condition: ended}]").name();
  const v1::Explanation why = Why(name);
  ASSERT_EQ(why.reasons_size(), 2);
  EXPECT_EQ(why.reasons(0).subject(), first);
  EXPECT_EQ(why.reasons(1).subject(), second);
  EXPECT_TRUE(absl::StrContains(why.reasons(1).message(), "is QUEUED")) << why.DebugString();
  EXPECT_TRUE(absl::StrContains(why.reasons(1).message(), "condition: ended"));
  EXPECT_EQ(why.summary(), "waits for 2 conditions of depends_on");
}

TEST_F(ExplainTest, PositionCountsOnlyWhoComesFirst) {
  OneCpu("jobs/other");
  const std::string low = Submit("priority: -1").name();
  const std::string first = Submit().name();
  Submit("suspended: true\npriority: 9");
  const std::string second = Submit("resources: {device: cpu}").name();
  Submit("priority: 5");
  EXPECT_EQ(Why(first).queue_position(), 2);
  EXPECT_EQ(Why(second).queue_position(), 3);
  const v1::Explanation last = Why(low);
  EXPECT_EQ(last.queue_position(), 4);
  EXPECT_EQ(last.effective_priority(), -1);
  EXPECT_TRUE(absl::StrContains(Commands(last), "trainctl pause jobs/other")) << Commands(last);
  EXPECT_TRUE(absl::StrContains(Commands(last), "update " + low + " priority=0"));
  EXPECT_FALSE(last.has_estimated_start_time());
}

TEST_F(ExplainTest, NextJobStartsWhenTheHolderEnds) {
  const std::string holder = Submit().name();
  OneCpu(holder);
  SetState(JobId(holder), Job::RUNNING);
  JobRecord record = Load(*store_, JobId(holder));
  record.job.mutable_progress()->set_eta_seconds(90);
  *record.job.mutable_progress()->mutable_last_step_time() =
      ToProto(clock_.Now() - absl::Seconds(30));
  ASSERT_OK(store_->Change([&](Transaction& t) { return StoreProgress(t.db(), &record); }));
  const v1::Explanation why = Why(Submit().name());
  EXPECT_EQ(why.queue_position(), 1);
  EXPECT_EQ(FromProto(why.estimated_start_time()), clock_.Now() + absl::Seconds(60));
}

TEST_F(ExplainTest, NamesTheJobsThatComeFirst) {
  OneCpu("jobs/other");
  const std::string low = Submit("priority: -1").name();
  std::vector<std::string> others;
  for (int i = 0; i < 7; ++i) others.push_back(Submit().name());
  const std::string high = Submit("priority: 5").name();
  const v1::Explanation why = Why(low);
  EXPECT_EQ(why.queue_position(), 9);
  std::vector<std::string> named;
  for (const auto& reason : why.reasons()) {
    if (reason.code() == "QUEUE" && !reason.subject().empty()) named.push_back(reason.subject());
  }
  EXPECT_EQ(named, (std::vector<std::string>{high, others[0], others[1], others[2], others[3]}));
  EXPECT_EQ(Why(high).queue_position(), 1);
  const v1::Explanation third = Why(others[1]);
  EXPECT_EQ(third.queue_position(), 3);
  EXPECT_EQ(third.reasons(third.reasons_size() - 1).subject(), others[0]) << "nobody behind it";
}

TEST_F(ExplainTest, AgeCountsForPositionAndPriority) {
  rules_.scheduling.priority_aging = absl::Hours(1);
  Open();
  OneCpu("jobs/other");
  const std::string old = Submit("priority: 1").name();
  clock_.Advance(absl::Hours(5));
  const std::string young = Submit("priority: 3").name();
  EXPECT_EQ(Why(old).effective_priority(), 6);
  EXPECT_EQ(Why(old).queue_position(), 1);
  EXPECT_EQ(Why(young).effective_priority(), 3);
  EXPECT_EQ(Why(young).queue_position(), 2);
  EXPECT_TRUE(absl::StrContains(Why(young).DebugString(), "priority 6 (1 and its age)"));
}

TEST_F(ExplainTest, QuotaNamesItsKeyAndTheOwner) {
  const std::string holder = Submit().name();
  SetState(JobId(holder), Job::RUNNING);
  const std::string name = Submit().name();
  rules_.quotas.max_running_jobs_per_owner = 1;
  Open();
  OneCpu(holder);
  const v1::Explanation why = Why(name);
  EXPECT_EQ(why.summary(), "waits until the quotas allow it to run");
  EXPECT_EQ(why.reasons(0).code(), "QUOTA");
  EXPECT_EQ(why.reasons(0).subject(), DaemonUser());
  EXPECT_TRUE(absl::StrContains(why.reasons(0).message(), "quotas.max_running_jobs_per_owner"));
  EXPECT_TRUE(absl::StrContains(Commands(why), "trainctl pause " + holder));
  rules_.quotas = {.max_running_jobs = 1};
  Open();
  OneCpu(holder);
  EXPECT_TRUE(absl::StrContains(Why(name).reasons(0).message(), "quotas.max_running_jobs)"));
  rules_.quotas = {.max_running_jobs = 2};
  Open();
  OneCpu(holder);
  EXPECT_EQ(Why(name).reasons(0).code(), "RESOURCES");
}

TEST_F(ExplainTest, PreemptionNamesWhoTookTheDevice) {
  const std::string name = Submit().name();
  JobRecord record = Load(*store_, JobId(name));
  record.job.set_state(Job::PAUSING);
  record.job.set_desired_state(Job::DESIRED_RUN);
  record.ledger.set_requeue_reason(internal::REQUEUE_PREEMPTED);
  record.ledger.set_preempted_by("jobs/big");
  ASSERT_OK(store_->Change([&](Transaction& t) { return StoreJob(t.db(), &record); }));
  EXPECT_TRUE(absl::StrContains(Why(name).summary(), "then is queued again"));
  EXPECT_EQ(Why(name).reasons(0).subject(), "jobs/big");
  record.job.set_state(Job::QUEUED);
  record.job.set_wait_reason(Job::PREEMPTED);
  ASSERT_OK(store_->Change([&](Transaction& t) { return StoreJob(t.db(), &record); }));
  EXPECT_EQ(Why(name).reasons(0).subject(), "jobs/big");
  record.ledger.set_requeue_reason(internal::REQUEUE_ATTEMPT_TIME);
  ASSERT_OK(store_->Change([&](Transaction& t) { return StoreJob(t.db(), &record); }));
  EXPECT_TRUE(absl::StrContains(Why(name).reasons(0).message(), "limits.max_attempt_time"));
}

TEST_F(ExplainTest, ADrainIsNamedWithItsEnd) {
  const std::string first = Submit().name(), name = Submit().name();
  JobRecord record = Load(*store_, JobId(name));
  record.job.set_wait_reason(Job::DRAIN);
  ASSERT_OK(store_->Change([&](Transaction& t) { return StoreJob(t.db(), &record); }));
  EXPECT_EQ(Why(name).reasons(0).code(), "DRAIN");
  EXPECT_TRUE(absl::StrContains(Commands(Why(name)), "trainctl undrain"));
  EXPECT_EQ(Why(name).queue_position(), 2);
  record.ledger.set_requeue_reason(internal::REQUEUE_DRAIN);
  record.job.set_state(Job::PAUSING);
  ASSERT_OK(store_->Change([&](Transaction& t) { return StoreJob(t.db(), &record); }));
  EXPECT_EQ(Why(name).reasons(0).code(), "DRAIN");
  record.job.set_state(Job::QUEUED);
  record.job.set_wait_reason(Job::PREEMPTED);
  ASSERT_OK(store_->Change([&](Transaction& t) { return StoreJob(t.db(), &record); }));
  EXPECT_TRUE(absl::StrContains(Why(name).reasons(0).message(), "drained"));
}

TEST_F(ExplainTest, PreemptionThatWillComeIsForetold) {
  const std::string holder = Submit().name();
  SetState(JobId(holder), Job::RUNNING);
  const std::string name = Submit("priority: 1").name();
  EXPECT_FALSE(absl::StrContains(Why(name).DebugString(), "preempted"));
  rules_.scheduling.preemption = true;
  Open();
  OneCpu(holder);
  EXPECT_TRUE(absl::StrContains(Why(name).reasons(0).message(), "once it has run for 10m"))
      << Why(name).DebugString();
  EXPECT_FALSE(absl::StrContains(Why(Submit().name()).reasons(0).message(), "preempted"));
}

TEST_F(ExplainTest, ActiveConditionsFollow) {
  const std::string name = Submit().name();
  JobRecord record = Load(*store_, JobId(name));
  ASSERT_OK(store_->Change([&](Transaction& t) -> absl::Status {
    for (const bool active : {true, false}) {
      absl::Status changed = ApplyCondition(t,
                                            {.type = active ? "Degraded" : "Stalled",
                                             .active = active,
                                             .reason = "R",
                                             .message = "the reason"},
                                            &record)
                                 .status();
      if (!changed.ok()) return changed;
    }
    return StoreJob(t.db(), &record);
  }));
  const v1::Explanation why = Why(name);
  EXPECT_EQ(why.reasons(why.reasons_size() - 1).code(), "Degraded");
  EXPECT_EQ(why.reasons(why.reasons_size() - 1).message(), "the reason");
}

TEST_F(ExplainTest, RefusesOtherNames) {
  v1::ExplainJobRequest request;
  EXPECT_EQ(Reason(jobs_->Explain(request).status()), "INVALID_NAME");
  request.set_name("jobs/nosuch");
  EXPECT_EQ(Reason(jobs_->Explain(request).status()), "JOB_NOT_FOUND");
}

}  // namespace
}  // namespace trainerd::server
