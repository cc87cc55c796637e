// SPDX-License-Identifier: Apache-2.0
// What a client over raw gRPC can send: names, fields, sizes and paths, as the head of
// trainer.proto states them.
#include "server/commands/submit/submit.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstdio>

#include "absl/strings/match.h"
#include "google/protobuf/unknown_field_set.h"
#include "tests/server/commands/job_manager_fixture.h"

namespace trainerd::server {
namespace {

constexpr char kUnix[] = "unix:";
constexpr char kTcp[] = "ipv4:127.0.0.1:40112";

class SubmitTest : public JobManagerTest {
 protected:
  absl::Status Try(const v1::SubmitJobRequest& request, const char* peer = kUnix) {
    return jobs_->Submit(request, peer).status();
  }
  void Link(const std::string& target, const std::string& name) {
    ASSERT_EQ(symlink(target.c_str(), (dir_ / name).c_str()), 0);
  }
  // A state directory with what a daemon keeps there.
  void MakeStateDir() {
    dir_.Write("state/trainerd.lock", "1\n");
    dir_.Write("state/token", "secret\n");
    dir_.Write("state/runs/old/final/config.json", "{}");
  }
};

TEST_F(SubmitTest, EveryCommandRefusesNameOfCheckpointAndUnknownJob) {
  const std::string id = JobId(Submit().name());
  SetState(id, v1::Job::RUNNING);
  const auto outcomes = [&](const std::string& name) {
    v1::PauseRequest pause = Pause(name);
    v1::ResumeRequest resume;
    resume.set_name(name);
    v1::DeleteJobRequest remove;
    remove.set_name(name);
    v1::UpdateJobRequest update;
    update.mutable_job()->set_name(name);
    update.mutable_update_mask()->add_paths("config.priority");
    v1::SubmitJobRequest submit = Request();
    submit.set_base(name.empty() ? "-" : name);
    return std::vector<absl::Status>{
        jobs_->Pause(pause, kUnix).status(),
        jobs_->Resume(resume, kUnix).status(),
        jobs_->Stop(Stop(name, v1::StopRequest::FORCE), kUnix).status(),
        jobs_->Delete(remove, kUnix).status(),
        jobs_->Update(update, kUnix).status(),
        Try(submit)};
  };
  for (const std::string& name :
       {std::string(), std::string("jobs/-"), std::string("-"), std::string("JOBS/") + id,
        "jobs/" + id + "/", "jobs/" + id + "/final", "jobs/" + id + "\n", "jobs/jobs/" + id}) {
    for (const absl::Status& status : outcomes(name)) {
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << name << ": " << status;
      EXPECT_EQ(Reason(status), "INVALID_NAME") << name << ": " << status;
    }
  }
  for (const char* name : {"jobs/nosuch", "nosuch"}) {
    for (const absl::Status& status : outcomes(name)) {
      EXPECT_TRUE(absl::IsNotFound(status)) << status;
      EXPECT_EQ(Reason(status), "JOB_NOT_FOUND") << status;
    }
  }
  const std::string checkpoint = "jobs/" + id + "/checkpoints/step-00000500-a2";
  std::vector<absl::Status> statuses = outcomes(checkpoint);
  EXPECT_EQ(Reason(statuses.back()), "CHECKPOINT_NOT_FOUND") << statuses.back();
  EXPECT_TRUE(absl::IsNotFound(statuses.back()));
  statuses.pop_back();
  for (const absl::Status& status : statuses) EXPECT_EQ(Reason(status), "INVALID_NAME") << status;
  EXPECT_EQ(Load(*store_, id).job.state(), v1::Job::RUNNING);
  EXPECT_EQ(Load(*store_, id).job.desired_state(), v1::Job::DESIRED_RUN);
  EXPECT_TRUE(removed_.empty());
}

TEST_F(SubmitTest, DependencyIsAJobThatExists) {
  const std::string name = Submit().name();
  const auto on = [](const std::string& job) { return "depends_on: [{job: '" + job + "'}]"; };
  for (const std::string& given : {name, JobId(name)}) {
    const v1::Job job = Submit(on(given));
    EXPECT_EQ(job.wait_reason(), v1::Job::DEPENDENCY);
    EXPECT_EQ(job.config().depends_on(0).job(), name) << "written in full";
    EXPECT_EQ(job.config().depends_on(0).condition(), v1::DependencyConfig::CONDITION_SUCCEEDED);
  }
  for (const std::string& other :
       {std::string(), std::string("jobs/"), name + "/checkpoints/c", std::string("Jobs/a"),
        std::string("jobs/-"), std::string("/folder")}) {
    const absl::Status status = Try(Request(on(other)));
    EXPECT_EQ(Reason(status), "INVALID_NAME") << other << status;
    EXPECT_EQ(Fields(status), std::vector<std::string>{"depends_on[0].job"}) << other;
  }
  const absl::Status unknown = Try(Request(on("jobs/nosuch")));
  EXPECT_TRUE(absl::IsNotFound(unknown)) << unknown;
  EXPECT_EQ(Reason(unknown), "JOB_NOT_FOUND");
  EXPECT_TRUE(absl::StrContains(unknown.message(), "depends_on[0].job: jobs/nosuch"));
  // Among other faults it is one of them.
  const absl::Status both = Try(Request(on("jobs/nosuch") + "\npriority: 101"));
  EXPECT_EQ(Fields(both), (std::vector<std::string>{"priority", "depends_on"})) << both;
  EXPECT_EQ(Fields(Try(Request("depends_on: [{condition: ended}]"))),
            std::vector<std::string>{"depends_on[0].job"});
  // A job cannot wait for itself: it does not exist yet.
  v1::SubmitJobRequest self = Request(on("jobs/self"));
  self.set_job_id("self");
  EXPECT_EQ(Reason(Try(self)), "JOB_NOT_FOUND");
}

TEST_F(SubmitTest, DependsOnAtMostAHundredJobs) {
  const std::string name = Submit().name();
  v1::SubmitJobRequest request = Request();
  for (int i = 0; i < 100; ++i) request.mutable_config()->add_depends_on()->set_job(name);
  EXPECT_OK(Try(request));
  request.mutable_config()->add_depends_on()->set_job(name);
  EXPECT_EQ(Fields(Try(request)), std::vector<std::string>{"depends_on"});
}

TEST_F(SubmitTest, JobThatIsBeingDeletedIsNoDependency) {
  const std::string name = Submit().name();
  SetState(JobId(name), v1::Job::SUCCEEDED);
  v1::DeleteJobRequest remove;
  remove.set_name(name);
  ASSERT_OK(jobs_->Delete(remove, kUnix).status());
  EXPECT_EQ(Reason(Try(Request("depends_on: [{job: " + name + "}]"))), "JOB_NOT_FOUND");
}

// What is known before there is a checkpoint is checked at once.
TEST_F(SubmitTest, RefusesStartFromDependencyOfAnotherForm) {
  const std::string name = Submit().name();
  const std::string from = "depends_on: [{job: " + name + "}]\ninit_from: {checkpoint: " + name;
  EXPECT_EQ(Fields(Try(Request(from + "}\nlora: {}"))),
            std::vector<std::string>{"init_from.checkpoint"});
  EXPECT_EQ(Fields(Try(Request(from + "}\noptimizer: {type: sgd, momentum: 0.5}"))),
            std::vector<std::string>{"init_from.state"});
  const v1::Job job = Submit(from + "}");
  EXPECT_EQ(job.base(), "");
  EXPECT_EQ(job.wait_reason(), v1::Job::DEPENDENCY);
  // Without depends_on, the checkpoint must exist.
  EXPECT_EQ(Reason(Try(Request("init_from: {checkpoint: " + name + "}"))), "NOTHING_TO_RESUME");
}

TEST_F(SubmitTest, RefusesJobIdsOfOtherForms) {
  for (const char* id : {"latest", "-", "A", "a/b", "jobs/a", "a b", "..", "é"}) {
    v1::SubmitJobRequest request = Request();
    request.set_job_id(id);
    EXPECT_EQ(Reason(Try(request)), "INVALID_NAME") << id;
  }
  v1::SubmitJobRequest request = Request();
  request.set_job_id(std::string(2'000'000, 'a'));
  EXPECT_LT(Try(request).message().size(), 300u);
}

TEST_F(SubmitTest, RefusesUnknownFieldsOfRequestAndOfBase) {
  v1::SubmitJobRequest request = Request();
  v1::JobConfig& config = *request.mutable_config();
  config.GetReflection()->MutableUnknownFields(&config)->AddLengthDelimited(17, "\x08\x08");
  absl::Status status = Try(request);
  EXPECT_EQ(Reason(status), "UNKNOWN_FIELD") << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "field 17 of the configuration")) << status;
  EXPECT_TRUE(recorder_.Events().empty());

  // As a newer daemon stored it.
  const v1::Job base = Submit("name: base");
  AddCheckpoint(base.name(), "c5", 5);
  SetState(JobId(base.name()), v1::Job::FAILED, base.name() + "/checkpoints/c5");
  JobRecord record = Load(*store_, JobId(base.name()));
  v1::DataConfig& data = *record.job.mutable_config()->mutable_data();
  data.GetReflection()->MutableUnknownFields(&data)->AddVarint(99, 1);
  ASSERT_OK(store_->Change([&](Transaction& t) { return StoreJob(t.db(), &record); }));
  v1::SubmitJobRequest again;
  again.set_base(base.name());
  status = Try(again);
  EXPECT_EQ(Reason(status), "UNKNOWN_FIELD") << status;
  EXPECT_EQ(Fields(status), std::vector<std::string>{"data"});
}

TEST_F(SubmitTest, ReportsConfigurationFilesAndDeviceTogether) {
  v1::Device cpu;
  cpu.set_name("cpu");
  devices_.Set({cpu});
  v1::SubmitJobRequest request = Request("resources: {device: 'cuda:3'}");
  v1::JobConfig& config = *request.mutable_config();
  config.GetReflection()->MutableUnknownFields(&config)->AddVarint(17, 1);
  config.set_name(
      "a\xe2\x80\xae"
      "b");
  config.mutable_train()->set_batch_size(0);
  config.mutable_data()->set_validation("/nowhere/v.jsonl");
  config.mutable_output()->set_path("/proc/out");
  config.mutable_init_from()->set_checkpoint("jobs/nosuch");
  const absl::Status status = Try(request);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_EQ(Fields(status),
            (std::vector<std::string>{"", "train.batch_size", "name", "data.validation",
                                      "output.path", "resources.device", "init_from.checkpoint"}));
  EXPECT_EQ(Reason(status), "UNKNOWN_FIELD");
  EXPECT_TRUE(recorder_.Events().empty());
}

TEST_F(SubmitTest, FaultOfOneFieldIsReportedOnce) {
  v1::SubmitJobRequest request = Request();
  request.mutable_config()->mutable_model()->set_path("a\nb");
  EXPECT_EQ(Fields(Try(request)), std::vector<std::string>{"model.path"});
  request = Request();
  request.mutable_config()->mutable_resources()->set_device("gpu");
  EXPECT_EQ(Fields(Try(request)), std::vector<std::string>{"resources.device"});
}

TEST_F(SubmitTest, StoresPathsAsTheClientSendsThem) {
  v1::SubmitJobRequest request = Request();
  v1::JobConfig& config = *request.mutable_config();
  config.mutable_model()->set_path(dir_ / "/x/..//model/./");
  config.mutable_data()->mutable_train(0)->set_path(dir_ / "model/../d.jsonl");
  config.mutable_output()->set_path(dir_ / "out//sub/../final/");
  const auto response = jobs_->Submit(request, kUnix);
  ASSERT_OK(response.status());
  EXPECT_EQ(response->job().config().model().path(), dir_ / "model");
  EXPECT_EQ(response->job().config().data().train(0).path(), dir_ / "d.jsonl");
  EXPECT_EQ(response->job().config().output().path(), dir_ / "out/final");
}

TEST_F(SubmitTest, RefusesRelativePathsInEveryField) {
  const std::vector<std::pair<std::string, std::function<void(v1::JobConfig&)>>> cases = {
      {"model.path", [](v1::JobConfig& c) { c.mutable_model()->set_path("model"); }},
      {"model.path", [](v1::JobConfig& c) { c.mutable_model()->set_path("~/model"); }},
      {"model.path", [](v1::JobConfig& c) { c.mutable_model()->set_path("./model"); }},
      {"data.train[0].path",
       [](v1::JobConfig& c) { c.mutable_data()->mutable_train(0)->set_path("../d.jsonl"); }},
      {"data.validation", [](v1::JobConfig& c) { c.mutable_data()->set_validation("v"); }},
      {"data.chat_template",
       [](v1::JobConfig& c) { c.mutable_data()->set_chat_template("t.jinja"); }},
      {"samples.prompts", [](v1::JobConfig& c) { c.mutable_samples()->set_prompts("p"); }},
      {"output.path", [](v1::JobConfig& c) { c.mutable_output()->set_path("out"); }},
      {"lora.adapter_path", [](v1::JobConfig& c) { c.mutable_lora()->set_adapter_path("a"); }},
      {"init_from.checkpoint",
       [](v1::JobConfig& c) { c.mutable_init_from()->set_checkpoint("./jobs/a"); }},
      {"init_from.checkpoint",
       [](v1::JobConfig& c) { c.mutable_init_from()->set_checkpoint("../c"); }},
  };
  for (const auto& [field, change] : cases) {
    v1::SubmitJobRequest request = Request();
    change(*request.mutable_config());
    const absl::Status status = Try(request);
    EXPECT_EQ(Fields(status), std::vector<std::string>{field}) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "relative path")) << status;
  }
}

TEST_F(SubmitTest, RefusesInputsThatAreNoRegularFiles) {
  ASSERT_EQ(mkfifo((dir_ / "pipe").c_str(), 0600), 0);
  const int server = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "%s", (dir_ / "socket").c_str());
  ASSERT_EQ(bind(server, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  Link("pipe", "link.jinja");
  Link("/dev/zero", "zero");
  Link("nothing", "dangling");
  const std::vector<std::function<void(v1::JobConfig&, const std::string&)>> fields = {
      [](v1::JobConfig& c, const std::string& p) { c.mutable_model()->set_path(p); },
      [](v1::JobConfig& c, const std::string& p) {
        c.mutable_data()->mutable_train(0)->set_path(p);
      },
      [](v1::JobConfig& c, const std::string& p) { c.mutable_data()->set_validation(p); },
      [](v1::JobConfig& c, const std::string& p) { c.mutable_samples()->set_prompts(p); },
      [](v1::JobConfig& c, const std::string& p) { c.mutable_lora()->set_adapter_path(p); },
      [](v1::JobConfig& c, const std::string& p) { c.mutable_init_from()->set_checkpoint(p); }};
  for (const std::string& path : {dir_ / "pipe", dir_ / "socket", dir_ / "link.jinja",
                                  std::string("/dev/zero"), dir_ / "zero", dir_ / "dangling"}) {
    for (const auto& set : fields) {
      v1::SubmitJobRequest request = Request();
      set(*request.mutable_config(), path);
      const absl::Status status = Try(request);
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << path << ": " << status;
      EXPECT_EQ(Fields(status).size(), 1u) << status;
    }
  }
  v1::SubmitJobRequest request = Request();
  request.mutable_config()->mutable_data()->set_chat_template(dir_ / "link.jinja");
  EXPECT_TRUE(absl::StrContains(Try(request).message(), "a pipe, not a file")) << Try(request);
  request = Request();
  request.mutable_config()->mutable_data()->mutable_train(0)->set_path(dir_ / "model");
  EXPECT_TRUE(absl::StrContains(Try(request).message(), "a folder, not a file")) << Try(request);
  request = Request();
  request.mutable_config()->mutable_model()->set_path(dir_ / "d.jsonl");
  EXPECT_TRUE(absl::StrContains(Try(request).message(), "not a folder")) << Try(request);
  close(server);
}

TEST_F(SubmitTest, ChecksTheAdapterFolder) {
  std::filesystem::create_directory(dir_ / "my-adapter");
  v1::SubmitJobRequest request = Request();
  request.mutable_config()->mutable_lora()->set_adapter_path(dir_ / "my-adaptor");
  const absl::Status status = Try(request);
  EXPECT_EQ(Fields(status), std::vector<std::string>{"lora.adapter_path"}) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "no such folder: " + (dir_ / "my-adaptor") +
                                                      "; did you mean \"my-adapter\"?"))
      << status;
  request.mutable_config()->mutable_lora()->set_adapter_path(dir_ / "my-adapter");
  EXPECT_TRUE(Try(request).ok()) << Try(request);
}

TEST_F(SubmitTest, RefusesFolderOfInitFromWhoseManifestIsPipe) {
  std::filesystem::create_directories(dir_ / "c");
  ASSERT_EQ(mkfifo((dir_ / "c/MANIFEST.json").c_str(), 0600), 0);
  v1::SubmitJobRequest request = Request();
  request.mutable_config()->mutable_init_from()->set_checkpoint(dir_ / "c");
  EXPECT_FALSE(Try(request).ok());
}

TEST_F(SubmitTest, RefusesOutputOfAnotherJobAlsoThroughLinks) {
  std::filesystem::create_directories(dir_ / "models");
  Link("models", "link");
  Submit("output: {path: " + (dir_ / "models/a") + "}");
  for (const char* path :
       {"models/a", "link/a", "models/./a", "models/b/../a", "models/a/sub", "link/a/sub/deeper"}) {
    v1::SubmitJobRequest request = Request();
    request.mutable_config()->mutable_output()->set_path(dir_ / path);
    const absl::Status status = Try(request);
    EXPECT_EQ(Fields(status), std::vector<std::string>{"output.path"}) << path << ": " << status;
  }
  Submit("output: {path: " + (dir_ / "models/x/y/z") + "}");
  v1::SubmitJobRequest around = Request();
  around.mutable_config()->mutable_output()->set_path(dir_ / "link/x");
  EXPECT_EQ(Fields(Try(around)), std::vector<std::string>{"output.path"});
  for (const char* path : {"models/ab", "models/a0", "models/b", "models/x2"}) {
    v1::SubmitJobRequest request = Request();
    request.mutable_config()->mutable_output()->set_path(dir_ / path);
    EXPECT_OK(Try(request));
  }
}

TEST_F(SubmitTest, OutputOfJobThatHasEndedIsFree) {
  const std::string yaml = "output: {path: " + (dir_ / "out") + "}";
  const v1::Job job = Submit(yaml);
  SetState(JobId(job.name()), v1::Job::CANCELLED);
  EXPECT_OK(Try(Request(yaml)));
}

TEST_F(SubmitTest, NothingOfStateDirectoryButRunsCanBeNamed) {
  MakeStateDir();
  Link("state", "alias");
  for (const char* peer : {kUnix, kTcp}) {
    for (const char* path : {"state/token", "state/nosuch", "alias/token", "state/runs/../token"}) {
      v1::SubmitJobRequest request = Request();
      request.mutable_config()->mutable_data()->set_validation(dir_ / path);
      const absl::Status status = Try(request, peer);
      EXPECT_EQ(Reason(status), "PATH_NOT_ALLOWED") << path << ": " << status;
      EXPECT_FALSE(absl::StrContains(status.message(), "no such file")) << status;
    }
  }
  v1::SubmitJobRequest request = Request();
  request.mutable_config()->mutable_model()->set_path(dir_ / "state/runs/old/final");
  EXPECT_OK(Try(request));
  for (const char* path : {"state/out", "state/trainerd.db-wal", "state/runs/new", "alias/out",
                           "alias/runs/old/final/x"}) {
    request = Request();
    request.mutable_config()->mutable_output()->set_path(dir_ / path);
    EXPECT_EQ(Fields(Try(request)), std::vector<std::string>{"output.path"}) << path;
  }
}

TEST_F(SubmitTest, CallOnTcpNamesOnlyPathsAtHome) {
  dir_.Write("home/d.jsonl", "{}\n");
  std::filesystem::create_directories(dir_ / "home/model");
  EXPECT_EQ(Reason(Try(Request(), kTcp)), "PATH_NOT_ALLOWED");
  v1::SubmitJobRequest request;
  request.mutable_config()->mutable_model()->set_path(dir_ / "home/model");
  request.mutable_config()->mutable_data()->add_train()->set_path(dir_ / "home/d.jsonl");
  EXPECT_OK(Try(request, kTcp));
  request.mutable_config()->mutable_output()->set_path(dir_ / "home/out");
  EXPECT_OK(Try(request, kTcp));
  request.mutable_config()->mutable_output()->set_path(dir_ / "elsewhere");
  EXPECT_EQ(Reason(Try(request, kTcp)), "PATH_NOT_ALLOWED");
}

TEST_F(SubmitTest, PathsOfBaseAreCheckedToo) {
  const v1::Job base = Submit("name: base");
  AddCheckpoint(base.name(), "c5", 5);
  SetState(JobId(base.name()), v1::Job::FAILED, base.name() + "/checkpoints/c5");
  v1::SubmitJobRequest request;
  request.set_base(base.name());
  EXPECT_OK(Try(request, kUnix));
  EXPECT_EQ(Reason(Try(request, kTcp)), "PATH_NOT_ALLOWED");
  request.set_base(JobId(base.name()));
  EXPECT_OK(Try(request, kUnix));
}

}  // namespace
}  // namespace trainerd::server
