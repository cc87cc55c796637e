// SPDX-License-Identifier: Apache-2.0
// UpdateCheckpoint, VerifyCheckpoint and CollectGarbage with a real store and real folders; and
// what commands of a job say about checkpoints.
#include "server/commands/checkpoints/checkpoint_manager.h"

#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "server/ledger/disk/disk_worker.h"
#include "tests/server/commands/job_manager_fixture.h"

namespace trainerd::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CheckpointManagerTest : public JobManagerTest {
 protected:
  CheckpointManagerTest()
      : housekeeping_({.runs_dir = dir_ / "state/runs", .clock = clock_.Function()}, *store_,
                      disk_),
        checkpoints_({.poke = [this](const std::string& job) { poked_.push_back(job); }}, *store_,
                     housekeeping_) {}

  v1::UpdateCheckpointRequest Change(const std::string& text, std::vector<std::string> paths) {
    auto request = FromText<v1::UpdateCheckpointRequest>("checkpoint {" + text + "}");
    if (request.checkpoint().name().empty()) request.mutable_checkpoint()->set_name(name_);
    for (std::string& path : paths) request.mutable_update_mask()->add_paths(std::move(path));
    return request;
  }
  v1::Checkpoint Update(const std::string& text, std::vector<std::string> paths) {
    auto reply = checkpoints_.Update(Change(text, std::move(paths)), "unix:");
    EXPECT_TRUE(reply.ok()) << reply.status();
    return reply.ok() ? *reply : v1::Checkpoint();
  }
  absl::Status Try(const v1::UpdateCheckpointRequest& request) {
    return checkpoints_.Update(request, "unix:").status();
  }
  absl::StatusOr<v1::Checkpoint> Verify(const std::string& name) {
    v1::VerifyCheckpointRequest request;
    request.set_name(name);
    return checkpoints_.Verify(request, "unix:");
  }
  // A job with one checkpoint, which the tests change.
  void AddOne() {
    job_ = Submit("name: base").name();
    AddCheckpoint(job_, "c5", 5);
    name_ = job_ + "/checkpoints/c5";
  }
  int Events(v1::CheckpointEvent::Kind kind) {
    int count = 0;
    for (const v1::Event& event : recorder_.Events()) count += event.checkpoint().kind() == kind;
    return count;
  }
  std::vector<std::string> Audit(const std::string& method) {
    std::vector<std::string> rows;
    EXPECT_OK(store_->Read([&](Connection& db) {
      Query query(db, "SELECT method, detail FROM audit ORDER BY seq");
      while (query.Step()) {
        if (query.Text(0) == method) rows.emplace_back(query.Text(1));
      }
      return query.status();
    }));
    return rows;
  }

  DiskWorker disk_;
  Housekeeping housekeeping_;
  CheckpointManager checkpoints_;
  std::string job_, name_;
};

TEST_F(CheckpointManagerTest, ChangesWhatTheMaskNames) {
  AddOne();
  v1::Checkpoint reply =
      Update("pinned: true labels {key: 'a' value: '1'} expire_time {seconds: 2000000000}",
             {"labels", "pinned"});
  EXPECT_TRUE(reply.pinned());
  EXPECT_EQ(reply.labels().at("a"), "1");
  EXPECT_FALSE(reply.has_expire_time()) << "the mask does not name it";
  reply = Update("labels {key: 'b' value: '2'}", {"labels"});
  EXPECT_EQ(reply.labels().size(), 1u) << "a map is replaced as a whole";
  EXPECT_TRUE(reply.pinned());
  reply = Update("expire_time {seconds: 2000000000}", {"expire_time"});
  EXPECT_EQ(reply.expire_time().seconds(), 2'000'000'000);
  EXPECT_FALSE(Update("", {"expire_time"}).has_expire_time()) << "absent: none";
  EXPECT_EQ(Events(v1::CheckpointEvent::UPDATED), 4);
  EXPECT_THAT(
      Audit("Checkpoints.UpdateCheckpoint"),
      ElementsAre("c5: labels, pinned", "c5: labels", "c5: expire_time", "c5: expire_time"));
}

TEST_F(CheckpointManagerTest, ACallThatChangesNothingLeavesNoTrace) {
  AddOne();
  const v1::Checkpoint pinned = Update("pinned: true", {"pinned"});
  EXPECT_EQ(Update("pinned: true", {"pinned"}).etag(), pinned.etag());
  EXPECT_EQ(Events(v1::CheckpointEvent::UPDATED), 1);
  EXPECT_EQ(Audit("Checkpoints.UpdateCheckpoint").size(), 1u);
}

TEST_F(CheckpointManagerTest, TheEtagGuardsAgainstAChangeInBetween) {
  AddOne();
  const std::string etag = Update("pinned: true", {"pinned"}).etag();
  v1::UpdateCheckpointRequest request = Change("", {"pinned"});
  request.mutable_checkpoint()->set_etag(etag);
  const v1::Checkpoint unpinned = *checkpoints_.Update(request, "unix:");
  EXPECT_NE(unpinned.etag(), etag);
  const absl::Status late = Try(request);
  EXPECT_TRUE(absl::IsAborted(late)) << late;
  EXPECT_EQ(Reason(late), "ETAG_CHANGED");
}

TEST_F(CheckpointManagerTest, ARepeatedRequestGetsTheFirstReply) {
  AddOne();
  v1::UpdateCheckpointRequest request = Change("pinned: true", {"pinned"});
  request.set_request_id("r1");
  const std::string etag = checkpoints_.Update(request, "unix:")->etag();
  Update("", {"pinned"});
  EXPECT_EQ(checkpoints_.Update(request, "unix:")->etag(), etag);
  request.mutable_checkpoint()->set_pinned(false);
  EXPECT_EQ(Reason(Try(request)), "REQUEST_ID_REUSED");
}

TEST_F(CheckpointManagerTest, RefusesBadRequests) {
  AddOne();
  const struct {
    const char* text;
    std::vector<std::string> paths;
    const char* field;
  } cases[] = {
      {"pinned: true", {}, "update_mask"},
      {"pinned: true", {"*"}, "update_mask"},
      {"pinned: true", {"pinned", "step"}, "update_mask"},
      {"labels {key: 'a' value: 'b'}", {"labels.a"}, "update_mask"},
      {"labels {key: 'a b' value: 'c'}", {"labels"}, "labels.a b"},
      {"labels {key: 'a' value: 'b\\nc'}", {"labels"}, "labels.a"},
      {"expire_time {seconds: -99999999999999}", {"expire_time"}, "checkpoint.expire_time"},
      {"expire_time {nanos: -1}", {"expire_time"}, "checkpoint.expire_time"},
      {"name: 'jobs/a'", {"pinned"}, "checkpoint.name"},
      {"name: 'jobs/a/checkpoints/'", {"pinned"}, "checkpoint.name"},
      {"name: 'jobs/a/final'", {"pinned"}, "checkpoint.name"}};
  for (const auto& [text, paths, field] : cases) {
    const absl::Status refused = Try(Change(text, paths));
    EXPECT_TRUE(absl::IsInvalidArgument(refused)) << text << ": " << refused;
    EXPECT_THAT(Fields(refused), ElementsAre(field)) << text << ": " << refused;
  }
  EXPECT_EQ(Reason(Try(Change("name: 'jobs/a'", {"pinned"}))), "INVALID_NAME");
  EXPECT_EQ(Reason(Try(Change("name: 'jobs/none/checkpoints/c'", {"pinned"}))), "JOB_NOT_FOUND");
  EXPECT_EQ(Reason(Try(Change("name: '" + job_ + "/checkpoints/c'", {"pinned"}))),
            "CHECKPOINT_NOT_FOUND");
  EXPECT_EQ(Events(v1::CheckpointEvent::UPDATED), 0);
}

TEST_F(CheckpointManagerTest, RefusesADeletedCheckpoint) {
  AddOne();
  AddCheckpoint(job_, "c6", 6);
  Update("expire_time {seconds: 1}", {"expire_time"});
  v1::CollectGarbageRequest collect;
  collect.set_parent(job_);
  ASSERT_OK(checkpoints_.CollectGarbage(collect, "unix:").status());
  EXPECT_EQ(Reason(Try(Change("pinned: true", {"pinned"}))), "CHECKPOINT_DELETED");
  EXPECT_EQ(Reason(Verify(name_).status()), "CHECKPOINT_DELETED");
  v1::SubmitJobRequest submit = Request();
  submit.set_base(name_);
  EXPECT_EQ(Reason(jobs_->Submit(submit, "unix:").status()), "CHECKPOINT_DELETED");
}

TEST_F(CheckpointManagerTest, VerifiesByReadingEveryByteBack) {
  AddOne();
  AddCheckpoint(job_, "c6", 6, /*verified=*/false);
  EXPECT_TRUE(Verify(name_)->verified());
  EXPECT_EQ(Events(v1::CheckpointEvent::VERIFIED), 0) << "it was verified before";
  EXPECT_TRUE(Verify(job_ + "/checkpoints/c6")->verified());
  EXPECT_EQ(Events(v1::CheckpointEvent::VERIFIED), 1);
  EXPECT_EQ(Load(*store_, JobId(job_)).job.latest_checkpoint(), job_ + "/checkpoints/c6");
  EXPECT_THAT(Audit("Checkpoints.VerifyCheckpoint"), ElementsAre("c6"));
}

TEST_F(CheckpointManagerTest, MarksADamagedCheckpointAndNamesTheFile) {
  const struct {
    const char* file;
    std::function<void(const std::string&)> damage;
  } cases[] = {
      {"model.safetensors",
       [](const std::string& folder) {
         std::ofstream(folder + "/model.safetensors") << "weights of sTep 5";
       }},
      {"model.safetensors",
       [](const std::string& folder) {
         std::filesystem::resize_file(folder + "/model.safetensors", 3);
       }},
      {"model.safetensors",
       [](const std::string& folder) { std::filesystem::remove(folder + "/model.safetensors"); }},
      {"MANIFEST.json",
       [](const std::string& folder) { std::ofstream(folder + "/MANIFEST.json") << "{"; }},
      {"MANIFEST.json",
       [](const std::string& folder) { std::filesystem::remove(folder + "/MANIFEST.json"); }}};
  for (const auto& [file, damage] : cases) {
    AddOne();
    damage(dir_ / "c5");
    const int marked = Events(v1::CheckpointEvent::FAILED);
    const absl::Status refused = Verify(name_).status();
    EXPECT_TRUE(absl::IsDataLoss(refused)) << refused;
    EXPECT_EQ(Reason(refused), "CHECKPOINT_DAMAGED");
    google::rpc::ErrorInfo info;
    info.ParseFromString(
        std::string(*refused.GetPayload("type.googleapis.com/google.rpc.ErrorInfo")));
    EXPECT_EQ(info.metadata().at("file"), file) << refused;
    EXPECT_EQ(Load(*store_, JobId(job_)).job.latest_checkpoint(), "");
    Verify(name_).IgnoreError();
    EXPECT_EQ(Events(v1::CheckpointEvent::FAILED), marked + 1) << "once";
    v1::SubmitJobRequest submit = Request();
    submit.set_base(name_);
    EXPECT_EQ(Reason(jobs_->Submit(submit, "unix:").status()), "CHECKPOINT_NOT_VERIFIED");
  }
}

TEST_F(CheckpointManagerTest, TheAnswerNamesWhatAPausedJobResumesFrom) {
  AddOne();
  AddCheckpoint(job_, "c7", 7);
  SetState(JobId(job_), v1::Job::PAUSED, job_ + "/checkpoints/c7");
  std::filesystem::remove(dir_ / "c7/model.safetensors");
  EXPECT_THAT(std::string(Verify(job_ + "/checkpoints/c7").status().message()),
              HasSubstr(job_ + " resumes from " + name_));
  EXPECT_EQ(Load(*store_, JobId(job_)).job.latest_checkpoint(), name_);
  std::filesystem::remove(dir_ / "c5/model.safetensors");
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(std::string(Verify(name_).status().message()),
                HasSubstr("has no verified checkpoint left to resume from"));
  }
  EXPECT_EQ(Load(*store_, JobId(job_)).job.state(), v1::Job::PAUSED);
  SetState(JobId(job_), v1::Job::CANCELLED);
  EXPECT_THAT(std::string(Verify(name_).status().message()), HasSubstr("Use an older checkpoint"));
}

TEST_F(CheckpointManagerTest, ARepairedCheckpointIsVerifiedAgain) {
  AddOne();
  const std::string path = dir_ / "c5/model.safetensors";
  std::ofstream(path) << "weights of sTep 5";
  EXPECT_FALSE(Verify(name_).ok());
  std::ofstream(path) << "weights of step 5";
  const v1::Checkpoint repaired = *Verify(name_);
  EXPECT_TRUE(repaired.verified());
  EXPECT_EQ(repaired.damage(), "");
  EXPECT_EQ(Load(*store_, JobId(job_)).job.latest_checkpoint(), name_);
}

TEST_F(CheckpointManagerTest, AnInconclusiveErrorChangesNothing) {
  AddOne();
  // A newer manifest, which a newer trainerd wrote.
  std::ofstream(dir_ / "c5/MANIFEST.json") << R"({"version": 99})";
  const absl::Status status = Verify(name_).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(Events(v1::CheckpointEvent::FAILED), 0);
}

TEST_F(CheckpointManagerTest, VerifiesTwoAtOnceAndEndsWithTheCall) {
  AddOne();
  v1::VerifyCheckpointRequest request;
  request.set_name(name_);
  absl::Notification leave;
  std::atomic<int> reading{0};
  const auto hold = [&] {
    ++reading;
    leave.WaitForNotification();
    return true;
  };
  std::vector<std::thread> calls;
  std::vector<absl::Status> ended(2);
  for (int i = 0; i < 2; ++i)
    calls.emplace_back([&, i] { ended[i] = checkpoints_.Verify(request, "unix:", hold).status(); });
  while (reading < 2) absl::SleepFor(absl::Milliseconds(1));
  const absl::Status third = Verify(name_).status();
  EXPECT_TRUE(absl::IsResourceExhausted(third)) << third;
  EXPECT_EQ(Reason(third), "VERIFICATIONS");
  EXPECT_TRUE(third.GetPayload("type.googleapis.com/google.rpc.RetryInfo").has_value());
  v1::CollectGarbageRequest collect;
  collect.set_parent(job_);
  leave.Notify();
  for (std::thread& call : calls) call.join();
  for (const absl::Status& status : ended) EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_OK(Verify(name_).status());
}

TEST_F(CheckpointManagerTest, CollectsOfOneJobOrOfAll) {
  AddOne();
  for (const char* id : {"c6", "c7", "c8", "c9"}) AddCheckpoint(job_, id, id[1] - '0');
  const std::string other = Submit("name: other").name();
  AddCheckpoint(other, "d1", 1);
  v1::CollectGarbageRequest request;
  request.set_parent("jobs/-");
  request.set_dry_run(true);
  const v1::CollectGarbageResponse plan = *checkpoints_.CollectGarbage(request, "unix:");
  EXPECT_EQ(plan.removed_size(), 2);
  EXPECT_EQ(plan.kept_size(), 4);
  EXPECT_EQ(Events(v1::CheckpointEvent::DELETED), 0);
  EXPECT_THAT(Audit("Checkpoints.CollectGarbage"), IsEmpty());
  request.set_dry_run(false);
  request.set_parent(other);
  EXPECT_EQ(checkpoints_.CollectGarbage(request, "unix:")->removed_size(), 0);
  request.set_parent("jobs/-");
  const v1::CollectGarbageResponse done = *checkpoints_.CollectGarbage(request, "unix:");
  EXPECT_EQ(done.SerializeAsString(), plan.SerializeAsString());
  EXPECT_EQ(Events(v1::CheckpointEvent::DELETED), 2);
  EXPECT_EQ(Audit("Checkpoints.CollectGarbage").size(), 1u) << "of the job that lost some";
  request.set_parent("jobs/none");
  EXPECT_EQ(Reason(checkpoints_.CollectGarbage(request, "unix:").status()), "JOB_NOT_FOUND");
  request.set_parent("jobs/a/checkpoints/b");
  EXPECT_EQ(Reason(checkpoints_.CollectGarbage(request, "unix:").status()), "INVALID_NAME");
}

TEST_F(CheckpointManagerTest, RequestsNeedAnAttempt) {
  AddOne();
  v1::RequestCheckpointRequest request;
  request.set_name(job_);
  for (const auto& [state, accepted] :
       std::vector<std::pair<v1::Job::State, bool>>{{v1::Job::QUEUED, false},
                                                    {v1::Job::STARTING, true},
                                                    {v1::Job::RUNNING, true},
                                                    {v1::Job::PAUSING, true},
                                                    {v1::Job::STOPPING, true},
                                                    {v1::Job::PAUSED, false},
                                                    {v1::Job::SUCCEEDED, false},
                                                    {v1::Job::FAILED, false}}) {
    SetState(JobId(job_), state);
    const auto job = jobs_->RequestCheckpoint(request, "unix:");
    EXPECT_EQ(job.ok(), accepted) << v1::Job::State_Name(state) << job.status();
    EXPECT_EQ(job.ok() ? "" : Reason(job.status()), accepted ? "" : "JOB_STATE");
    EXPECT_TRUE(!job.ok() || job->checkpoint_pending());
  }
}

TEST_F(CheckpointManagerTest, RequestsThatArePendingTogetherHaveOneLimitOfLabels) {
  AddOne();
  SetState(JobId(job_), v1::Job::RUNNING);
  for (int part = 0; part < 2; ++part) {
    v1::RequestCheckpointRequest request;
    request.set_name(job_);
    for (int i = 0; i < 40; ++i)
      (*request.mutable_labels())[absl::StrCat("k", part * 40 + i)] = "v";
    const absl::Status status = jobs_->RequestCheckpoint(request, "unix:").status();
    EXPECT_EQ(status.ok(), part == 0) << status;
    EXPECT_EQ(Fields(status),
              part == 0 ? std::vector<std::string>{} : std::vector<std::string>{"labels"});
  }
  v1::RequestCheckpointRequest request;
  request.set_name(job_);
  (*request.mutable_labels())["bad key"] = "v";
  EXPECT_TRUE(absl::IsInvalidArgument(jobs_->RequestCheckpoint(request, "unix:").status()));
}

TEST_F(CheckpointManagerTest, ResumeTakesAVerifiedCheckpointOfTheJobAlone) {
  AddOne();
  AddCheckpoint(job_, "raw", 7, /*verified=*/false);
  const std::string other = Submit("name: other").name();
  AddCheckpoint(other, "d1", 1);
  SetState(JobId(job_), v1::Job::PAUSED, name_);
  const auto resume = [&](const std::string& from) {
    v1::ResumeRequest request;
    request.set_name(job_);
    request.set_from_checkpoint(from);
    return jobs_->Resume(request, "unix:").status();
  };
  EXPECT_EQ(Reason(resume("c5")), "INVALID_NAME");
  EXPECT_EQ(Reason(resume(job_)), "INVALID_NAME");
  EXPECT_THAT(Fields(resume(other + "/checkpoints/d1")), ElementsAre("from_checkpoint"));
  EXPECT_EQ(Reason(resume(job_ + "/checkpoints/none")), "CHECKPOINT_NOT_FOUND");
  EXPECT_EQ(Reason(resume(job_ + "/checkpoints/raw")), "CHECKPOINT_NOT_VERIFIED");
  EXPECT_EQ(Load(*store_, JobId(job_)).job.state(), v1::Job::PAUSED) << "refused as a whole";
  ASSERT_OK(resume(name_));
  EXPECT_EQ(Load(*store_, JobId(job_)).ledger.resume_from(), name_);
  EXPECT_EQ(Load(*store_, JobId(job_)).job.state(), v1::Job::QUEUED);
  SetState(JobId(job_), v1::Job::RUNNING, name_);
  ASSERT_OK(resume(name_));  // the same again
  EXPECT_EQ(Reason(resume(job_ + "/checkpoints/raw")), "JOB_STATE");
}

}  // namespace
}  // namespace trainerd::server
