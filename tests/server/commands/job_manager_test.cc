// SPDX-License-Identifier: Apache-2.0
// The commands with a real store, without gRPC and reconciler.
#include "server/commands/job_manager.h"

#include <fstream>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/base/time.h"
#include "proto/contract/job/names.h"
#include "server/store/daemon_user.h"
#include "tests/server/commands/job_manager_fixture.h"

namespace trainerd::server {
namespace {

TEST_F(JobManagerTest, SubmittedJobIsQueuedWithDefaultsAndItsFirstEventSaysSo) {
  const v1::Job job = Submit("train: {seed: 7}");
  EXPECT_EQ(job.state(), v1::Job::QUEUED);
  EXPECT_EQ(job.wait_reason(), v1::Job::RESOURCES);
  EXPECT_EQ(job.config().train().batch_size(), 4);
  EXPECT_EQ(job.config_digest().size(), 32u);
  EXPECT_TRUE(std::count(job.given().begin(), job.given().end(), "train.seed"));
  EXPECT_EQ(job.name().size(), 5 + 12u);
  EXPECT_EQ(poked_, std::vector<std::string>{job.name()});
  const v1::Event first = recorder_.Events().front();
  EXPECT_EQ(first.state_changed().from_state(), v1::Job::STATE_UNSPECIFIED);
  EXPECT_EQ(first.state_changed().to_state(), v1::Job::QUEUED);
  EXPECT_EQ(first.state_changed().actor(), "user");
}

// T9
TEST_F(JobManagerTest, SameRequestIdIsSameJobAfterRestart) {
  const v1::SubmitJobRequest request = Request("labels: {a: x, b: y}", "r1");
  const auto first = jobs_->Submit(request, "unix:");
  ASSERT_OK(first.status());
  Open();
  const auto second = jobs_->Submit(request, "unix:");
  ASSERT_OK(second.status());
  EXPECT_EQ(second->job().name(), first->job().name());
  EXPECT_EQ(recorder_.Events().size(), 1u);
  const absl::Status other = jobs_->Submit(Request("train: {seed: 8}", "r1"), "unix:").status();
  EXPECT_TRUE(absl::IsAlreadyExists(other)) << other;
  EXPECT_EQ(Reason(other), "REQUEST_ID_REUSED");
}

TEST_F(JobManagerTest, ReportsAllFileViolationsAtOnce) {
  v1::SubmitJobRequest request = Request("output: {path: " + (dir_ / "model") + "}");
  request.mutable_config()->mutable_model()->set_path("/nowhere/model");
  request.mutable_config()->mutable_data()->mutable_train(0)->set_path("relative.jsonl");
  const absl::Status status = jobs_->Submit(request, "unix:").status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_EQ(Fields(status),
            (std::vector<std::string>{"model.path", "data.train[0].path", "output.path"}));
  EXPECT_TRUE(absl::StrContains(status.message(), "no such folder: /nowhere/model")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "already exists")) << status;
  EXPECT_TRUE(recorder_.Events().empty());
}

TEST_F(JobManagerTest, AcceptsExistingOutputFolderOfSameJob) {
  Manifest manifest;
  manifest.job = "jobs/mine";
  manifest.kind = "final";
  manifest.create_time = "2026-11-24T07:00:00Z";
  std::filesystem::create_directories(dir_ / "out");
  std::ofstream(dir_ / "out/MANIFEST.json") << ManifestToJson(manifest);
  v1::SubmitJobRequest request = Request("output: {path: " + (dir_ / "out") + "}");
  EXPECT_FALSE(jobs_->Submit(request, "unix:").ok());
  request.set_job_id("mine");
  EXPECT_OK(jobs_->Submit(request, "unix:").status());
}

TEST_F(JobManagerTest, RefusesOutputOfAnotherJob) {
  const std::string yaml = "output: {path: " + (dir_ / "out") + "}";
  Submit(yaml);
  EXPECT_EQ(Fields(jobs_->Submit(Request(yaml), "unix:").status()),
            std::vector<std::string>{"output.path"});
}

TEST_F(JobManagerTest, RefusesUnknownDeviceOnceDevicesAreKnown) {
  const std::string yaml = "resources: {device: 'cuda:7'}";
  Submit(yaml);  // the devices are not known yet
  v1::Device cpu;
  cpu.set_name("cpu");
  devices_.Set({cpu});
  const absl::Status status = jobs_->Submit(Request(yaml), "unix:").status();
  EXPECT_EQ(Fields(status), std::vector<std::string>{"resources.device"});
  EXPECT_TRUE(absl::StrContains(status.message(), "it has cpu")) << status;
}

TEST_F(JobManagerTest, RefusesInvalidOrUsedJobId) {
  v1::SubmitJobRequest request = Request();
  request.set_job_id("Bad Id");
  EXPECT_TRUE(absl::IsInvalidArgument(jobs_->Submit(request, "unix:").status()));
  request.set_job_id("mine");
  EXPECT_EQ(jobs_->Submit(request, "unix:")->job().name(), "jobs/mine");
  EXPECT_EQ(Reason(jobs_->Submit(request, "unix:").status()), "JOB_EXISTS");
}

TEST_F(JobManagerTest, RefusesSubmitToFullQueueWithRetryDelay) {
  Open(/*max_queued=*/2);
  Submit();
  const std::string second = Submit().name();
  const absl::Status full = jobs_->Submit(Request(), "unix:").status();
  EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
  EXPECT_EQ(Reason(full), "QUEUE_FULL");
  EXPECT_TRUE(full.GetPayload("type.googleapis.com/google.rpc.RetryInfo").has_value());
  ASSERT_OK(jobs_->Stop(Stop(second), "unix:").status());
  EXPECT_OK(jobs_->Submit(Request(), "unix:").status());
}

TEST_F(JobManagerTest, RefusesSubmitBeyondTheOwnersQuota) {
  max_queued_per_owner_ = 2;
  Open();
  const v1::Job first = Submit();
  EXPECT_EQ(first.owner(), DaemonUser());
  const std::string second = Submit("suspended: true").name();
  for (int i = 0; i < 3; ++i) {
    const absl::Status full = jobs_->Submit(Request(), "unix:").status();
    EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
    EXPECT_EQ(Reason(full), "QUOTA");
    EXPECT_TRUE(full.GetPayload("type.googleapis.com/google.rpc.RetryInfo").has_value());
  }
  Open();  // The next daemon counts them, too.
  EXPECT_EQ(Reason(jobs_->Submit(Request(), "unix:").status()), "QUOTA");
  ASSERT_OK(jobs_->Stop(Stop(second), "unix:").status());
  EXPECT_OK(jobs_->Submit(Request(), "unix:").status());
  EXPECT_EQ(Reason(jobs_->Submit(Request(), "unix:").status()), "QUOTA");
  // Another owner has jobs of its own.
  ASSERT_OK(store_->Change(
      [&](Transaction& t) { return t.db().Execute("UPDATE jobs SET owner = 'someone else'"); }));
  EXPECT_OK(jobs_->Submit(Request(), "unix:").status());
}

TEST_F(JobManagerTest, OwnerStaysWhateverTheJobDoes) {
  const std::string name = Submit().name();
  ASSERT_OK(jobs_->Pause(Pause(name), "unix:").status());
  ASSERT_OK(jobs_->Stop(Stop(name), "unix:").status());
  EXPECT_EQ(Load(*store_, JobId(name)).job.owner(), DaemonUser());
}

TEST_F(JobManagerTest, CommandCanGiveItsGrace) {
  const auto deadline = [&](const std::string& name) {
    return FromProto(Load(*store_, JobId(name)).ledger.end_deadline()) - clock_.Now();
  };
  const auto with_grace = [](auto request, int64_t seconds) {
    request.mutable_grace()->set_seconds(seconds);
    return request;
  };
  const std::string name = Submit("limits: {stop_grace: 100s}").name();
  SetState(JobId(name), v1::Job::RUNNING);
  ASSERT_OK(jobs_->Pause(with_grace(Pause(name), 3600), "unix:").status());
  EXPECT_EQ(deadline(name), absl::Seconds(3600)) << "instead of limits.stop_grace";
  ASSERT_OK(jobs_->Pause(with_grace(Pause(name), 7200), "unix:").status());
  EXPECT_EQ(deadline(name), absl::Seconds(3600)) << "never later";
  const size_t events = recorder_.Events().size();
  ASSERT_OK(jobs_->Pause(with_grace(Pause(name), 60), "unix:").status());
  EXPECT_EQ(deadline(name), absl::Seconds(60)) << "the same command with less patience";
  EXPECT_EQ(recorder_.Events().size(), events) << "no state has changed";
  ASSERT_OK(jobs_->Stop(with_grace(Stop(name), 500), "unix:").status());
  EXPECT_EQ(deadline(name), absl::Seconds(60));
  ASSERT_OK(jobs_->Stop(with_grace(Stop(name), 0), "unix:").status());
  EXPECT_EQ(deadline(name), absl::ZeroDuration());
  const std::string forced = Submit().name();
  SetState(JobId(forced), v1::Job::RUNNING);
  ASSERT_OK(jobs_->Stop(with_grace(Stop(forced, v1::StopRequest::FORCE), 500), "unix:").status());
  EXPECT_EQ(deadline(forced), absl::Seconds(2)) << "force ignores it";
}

TEST_F(JobManagerTest, RefusesAGraceOutOfItsRange) {
  const std::string name = Submit().name();
  for (const char* grace : {"seconds: -1", "seconds: 86401", "nanos: -5", "nanos: 2000000000",
                            "seconds: 9223372036854775807"}) {
    v1::PauseRequest pause = Pause(name);
    *pause.mutable_grace() = FromText<google::protobuf::Duration>(grace);
    const absl::Status refused = jobs_->Pause(pause, "unix:").status();
    EXPECT_TRUE(absl::IsInvalidArgument(refused)) << grace << " " << refused;
    v1::StopRequest stop = Stop(name);
    *stop.mutable_grace() = pause.grace();
    EXPECT_TRUE(absl::IsInvalidArgument(jobs_->Stop(stop, "unix:").status())) << grace;
  }
}

TEST_F(JobManagerTest, RecordsCommandsWithTheirEvent) {
  const std::string name = Submit().name();
  EXPECT_EQ(jobs_->Pause(Pause(name), "unix:")->wait_reason(), v1::Job::HELD);
  EXPECT_EQ(recorder_.Events().size(), 2u);
  EXPECT_OK(jobs_->Pause(Pause(name), "unix:").status());
  EXPECT_EQ(recorder_.Events().size(), 2u) << "no change, no event";
  v1::ResumeRequest resume;
  resume.set_name(name);
  EXPECT_EQ(jobs_->Resume(resume, "unix:")->wait_reason(), v1::Job::RESOURCES);
  EXPECT_EQ(jobs_->Stop(Stop(name), "unix:")->state(), v1::Job::CANCELLED);
  const absl::Status late = jobs_->Resume(resume, "unix:").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(late));
  EXPECT_EQ(Reason(late), "JOB_TERMINAL");
}

TEST_F(JobManagerTest, StopsQueuedJobAtItsCheckpoint) {
  const std::string name = Submit().name();
  SetState(JobId(name), v1::Job::QUEUED, name + "/checkpoints/c");
  EXPECT_EQ(jobs_->Stop(Stop(name), "unix:")->state(), v1::Job::STOPPED);
}

TEST_F(JobManagerTest, RepeatedRequestIdGetsFirstReplyWithoutEffect) {
  const std::string name = Submit().name();
  ASSERT_OK(jobs_->Pause(Pause(name, "p1"), "unix:").status());
  v1::ResumeRequest resume;
  resume.set_name(name);
  ASSERT_OK(jobs_->Resume(resume, "unix:").status());
  const auto again = jobs_->Pause(Pause(name, "p1"), "unix:");
  ASSERT_OK(again.status());
  EXPECT_EQ(again->wait_reason(), v1::Job::HELD) << "the first reply";
  EXPECT_EQ(Load(*store_, JobId(name)).job.wait_reason(), v1::Job::RESOURCES);
}

TEST_F(JobManagerTest, AbortsCommandWithOldEtag) {
  const v1::Job job = Submit();
  ASSERT_OK(jobs_->Pause(Pause(job.name(), "", job.etag()), "unix:").status());
  EXPECT_TRUE(absl::IsAborted(jobs_->Pause(Pause(job.name(), "", job.etag()), "unix:").status()));
}

TEST_F(JobManagerTest, LaterCommandNeverExtendsDeadline) {
  const std::string name = Submit("limits: {stop_grace: 100s}").name();
  const std::string id = JobId(name);
  SetState(id, v1::Job::RUNNING);
  ASSERT_OK(jobs_->Pause(Pause(name), "unix:").status());
  const absl::Time first = FromProto(Load(*store_, id).ledger.end_deadline());
  EXPECT_EQ(first, clock_.Now() + absl::Seconds(100));
  clock_.Advance(absl::Seconds(50));
  ASSERT_OK(jobs_->Stop(Stop(name), "unix:").status());
  EXPECT_EQ(FromProto(Load(*store_, id).ledger.end_deadline()), first);
  ASSERT_OK(jobs_->Stop(Stop(name, v1::StopRequest::FORCE), "unix:").status());
  EXPECT_EQ(FromProto(Load(*store_, id).ledger.end_deadline()), clock_.Now() + absl::Seconds(2));
}

// T2
TEST_F(JobManagerTest, DesiredStateOnlyEscalates) {
  const std::string name = Submit().name();
  SetState(JobId(name), v1::Job::RUNNING);
  EXPECT_EQ(jobs_->Stop(Stop(name, v1::StopRequest::DISCARD), "unix:")->state(), v1::Job::STOPPING);
  EXPECT_EQ(jobs_->Stop(Stop(name), "unix:")->desired_state(), v1::Job::DESIRED_DISCARD);
  EXPECT_TRUE(absl::IsFailedPrecondition(jobs_->Pause(Pause(name), "unix:").status()));
  EXPECT_EQ(jobs_->Stop(Stop(name, v1::StopRequest::FORCE), "unix:")->desired_state(),
            v1::Job::DESIRED_FORCE);
}

// T1
TEST_F(JobManagerTest, TerminalStateNeverChanges) {
  const std::string name = Submit().name();
  for (v1::Job::State state :
       {v1::Job::SUCCEEDED, v1::Job::STOPPED, v1::Job::CANCELLED, v1::Job::FAILED}) {
    SetState(JobId(name), state);
    v1::ResumeRequest resume;
    resume.set_name(name);
    (void)jobs_->Resume(resume, "unix:");
    (void)jobs_->Pause(Pause(name), "unix:");
    for (v1::StopRequest::Mode mode :
         {v1::StopRequest::GRACEFUL, v1::StopRequest::DISCARD, v1::StopRequest::FORCE}) {
      (void)jobs_->Stop(Stop(name, mode), "unix:");
    }
    EXPECT_EQ(Load(*store_, JobId(name)).job.state(), state);
    JobRecord record = Load(*store_, JobId(name));
    EXPECT_FALSE(store_
                     ->Change([&](Transaction& t) {
                       return ApplyTransition(
                           t, {.to = v1::Job::QUEUED, .desired_state = v1::Job::DESIRED_RUN},
                           &record);
                     })
                     .ok());
  }
}

TEST_F(JobManagerTest, RefusesOutputThatCannotBeCreated) {
  for (const std::string& path :
       {dir_ / "d.jsonl/out", std::string("/proc/out"), dir_ / std::string(300, 'x')}) {
    const absl::Status refused =
        jobs_->Submit(Request("output: {path: " + path + "}"), "unix:").status();
    EXPECT_EQ(Fields(refused), std::vector<std::string>{"output.path"}) << path << ": " << refused;
    EXPECT_TRUE(absl::StrContains(refused.message(), "cannot be created")) << refused;
  }
  EXPECT_OK(jobs_->Submit(Request("output: {path: " + (dir_ / "a/b/out") + "}"), "unix:").status());
  EXPECT_FALSE(std::filesystem::exists(dir_ / "a"));
}

TEST_F(JobManagerTest, DeletesOnlyEndedJobs) {
  const std::string name = Submit().name();
  v1::DeleteJobRequest request;
  request.set_name(name);
  const absl::Status active = jobs_->Delete(request, "unix:").status();
  EXPECT_EQ(Reason(active), "JOB_ACTIVE");
  ASSERT_OK(jobs_->Stop(Stop(name), "unix:").status());
  EXPECT_TRUE(jobs_->Delete(request, "unix:")->deleting());
  EXPECT_EQ(removed_, std::vector<std::string>{JobId(name)});
}

TEST_F(JobManagerTest, RefusesUnknownJob) {
  EXPECT_TRUE(absl::IsNotFound(jobs_->Pause(Pause("jobs/none"), "unix:").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(jobs_->Pause(Pause(""), "unix:").status()));
}

}  // namespace
}  // namespace trainerd::server
