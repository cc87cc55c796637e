// SPDX-License-Identifier: Apache-2.0
// Requests as any gRPC client can send them: each RPC has the same rule for names and the same
// errors, and the way in which a call comes in decides which paths it may name.
#include <fcntl.h>
#include <grpcpp/grpcpp.h>

#include <fstream>
#include <functional>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "google/protobuf/unknown_field_set.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "proto/base/atomic_file.h"
#include "server/server.h"
#include "tests/server/test_env.h"
#include "trainerd/v1/trainer.grpc.pb.h"

namespace trainerd::server {
namespace {

class RequestsTest : public ::testing::Test {
 protected:
  RequestsTest() {
    std::filesystem::create_directories(dir_ / "model");
    std::ofstream(dir_ / "d.jsonl") << "{}\n";
  }
  void Start(const std::string& settings = "") {
    v1::ServerConfig config;
    EXPECT_TRUE(YamlToMessage("state_dir: " + (dir_ / "s") + "\nworker_path: " +
                                  (dir_ / "no-worker") + "\nshim_path: " + (dir_ / "no-shim") +
                                  "\ninspect_path: " + (dir_ / "no-inspect") + "\n" + settings,
                              &config)
                    .violations.empty());
    std::vector<ConfigViolation> violations;
    auto server =
        Server::Start({.config = ResolveServerConfig(config, &violations), .version = "test"});
    ASSERT_OK(server.status());
    server_ = *std::move(server);
  }
  void ConnectUnix() {
    folder_ = ::open((dir_ / "s").c_str(), O_RDONLY | O_DIRECTORY);
    UseChannel("unix:/proc/self/fd/" + std::to_string(folder_) + "/trainerd.sock");
  }
  void UseChannel(const std::string& address) {
    const auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
    trainer_ = v1::Trainer::NewStub(channel);
    runs_ = v1::Runs::NewStub(channel);
    checkpoints_ = v1::Checkpoints::NewStub(channel);
  }
  v1::SubmitJobRequest Request(const std::string& id) {
    v1::SubmitJobRequest request;
    request.set_job_id(id);
    request.mutable_config()->mutable_model()->set_path(dir_ / "model");
    request.mutable_config()->mutable_data()->add_train()->set_path(dir_ / "d.jsonl");
    return request;
  }
  grpc::Status Submit(const v1::SubmitJobRequest& request, const std::string& token = "") {
    grpc::ClientContext context;
    if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
    v1::SubmitJobResponse response;
    return trainer_->SubmitJob(&context, request, &response);
  }
  static std::string Reason(const grpc::Status& status) {
    google::rpc::Status details;
    details.ParseFromString(status.error_details());
    google::rpc::ErrorInfo info;
    for (const auto& detail : details.details()) detail.UnpackTo(&info);
    return info.reason();
  }
  // What each RPC that names a job answers.
  std::map<std::string, grpc::Status> Answers(const std::string& name);

  TempDir dir_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<v1::Trainer::Stub> trainer_;
  std::unique_ptr<v1::Runs::Stub> runs_;
  std::unique_ptr<v1::Checkpoints::Stub> checkpoints_;
  int folder_ = -1;
};

template <typename Request>
Request Named(const std::string& name) {
  Request request;
  request.set_name(name);
  return request;
}

template <typename Request>
Request Under(const std::string& parent) {
  Request request;
  request.set_parent(parent);
  return request;
}

// A call with a context of its own.
grpc::Status Call(const std::function<grpc::Status(grpc::ClientContext*)>& call) {
  grpc::ClientContext context;
  return call(&context);
}

template <typename Message, typename Reader>
grpc::Status End(grpc::ClientContext* context, std::unique_ptr<Reader> reader) {
  Message message;
  if (reader->Read(&message)) context->TryCancel();
  return reader->Finish();
}

std::map<std::string, grpc::Status> RequestsTest::Answers(const std::string& name) {
  using Context = grpc::ClientContext;
  v1::Job job;
  v1::ListAttemptsResponse attempts;
  v1::ListCheckpointsResponse checkpoints;
  std::map<std::string, grpc::Status> answers;
  const auto add = [&](const char* rpc, const std::function<grpc::Status(Context*)>& call) {
    answers[rpc] = Call(call);
  };
  add("GetJob",
      [&](Context* c) { return trainer_->GetJob(c, Named<v1::GetJobRequest>(name), &job); });
  add("WaitJob", [&](Context* c) {
    v1::WaitJobRequest request = Named<v1::WaitJobRequest>(name);
    request.mutable_timeout()->set_nanos(1'000'000);
    return trainer_->WaitJob(c, request, &job);
  });
  add("StreamStatus", [&](Context* c) {
    v1::StreamStatusRequest request = Under<v1::StreamStatusRequest>(name);
    request.set_send_snapshot(true);
    return End<v1::StreamStatusResponse>(c, trainer_->StreamStatus(c, request));
  });
  add("StreamLogs", [&](Context* c) {
    return End<v1::LogChunk>(c, runs_->StreamLogs(c, Named<v1::StreamLogsRequest>(name)));
  });
  add("ListAttempts", [&](Context* c) {
    return runs_->ListAttempts(c, Under<v1::ListAttemptsRequest>(name), &attempts);
  });
  add("ListCheckpoints", [&](Context* c) {
    return checkpoints_->ListCheckpoints(c, Under<v1::ListCheckpointsRequest>(name), &checkpoints);
  });
  add("CollectGarbage", [&](Context* c) {
    v1::CollectGarbageRequest request = Under<v1::CollectGarbageRequest>(name);
    v1::CollectGarbageResponse garbage;
    request.set_dry_run(true);
    return checkpoints_->CollectGarbage(c, request, &garbage);
  });
  add("RequestCheckpoint", [&](Context* c) {
    return trainer_->RequestCheckpoint(c, Named<v1::RequestCheckpointRequest>(name), &job);
  });
  add("Pause", [&](Context* c) { return trainer_->Pause(c, Named<v1::PauseRequest>(name), &job); });
  add("Resume",
      [&](Context* c) { return trainer_->Resume(c, Named<v1::ResumeRequest>(name), &job); });
  add("Stop", [&](Context* c) { return trainer_->Stop(c, Named<v1::StopRequest>(name), &job); });
  add("DeleteJob",
      [&](Context* c) { return trainer_->DeleteJob(c, Named<v1::DeleteJobRequest>(name), &job); });
  return answers;
}

TEST_F(RequestsTest, EveryRpcHasOneRuleForNames) {
  Start();
  ConnectUnix();
  ASSERT_TRUE(Submit(Request("a")).ok());
  for (const std::string& name :
       {std::string(), std::string("jobs/"), std::string("jobs/a/checkpoints/step-00000500-a2"),
        std::string("a/checkpoints/x"), std::string("jobs/a/"), std::string("jobs/a/final"),
        std::string("Jobs/a"), std::string("jobs/A"), std::string("jobs/a b"),
        std::string("jobs/../a"), std::string(5000, 'a')}) {
    for (const auto& [rpc, status] : Answers(name)) {
      EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << rpc << " " << name;
      EXPECT_EQ(Reason(status), "INVALID_NAME") << rpc << " " << name;
      EXPECT_LT(status.error_message().size(), 300u) << rpc;
    }
  }
  for (const char* name : {"jobs/nosuch", "nosuch"}) {
    for (const auto& [rpc, status] : Answers(name)) {
      EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND) << rpc << " " << name;
      EXPECT_EQ(Reason(status), "JOB_NOT_FOUND") << rpc << " " << name;
    }
  }
  // Each is deleted at the end.
  ASSERT_TRUE(Submit(Request("b")).ok());
  for (const char* name : {"jobs/a", "b"}) {
    for (const auto& [rpc, status] : Answers(name)) {
      EXPECT_NE(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << rpc << " " << name;
      EXPECT_NE(status.error_code(), grpc::StatusCode::NOT_FOUND) << rpc << " " << name;
    }
  }
  for (const auto& [rpc, status] : Answers("jobs/-")) {
    const std::set<std::string> of_all = {"StreamStatus", "ListCheckpoints", "CollectGarbage"};
    if (of_all.contains(rpc)) {
      EXPECT_NE(Reason(status), "INVALID_NAME") << rpc;
      continue;
    }
    EXPECT_EQ(Reason(status), "INVALID_NAME") << rpc;
  }
}

TEST_F(RequestsTest, RefusesFieldOfNewerClient) {
  Start();
  ConnectUnix();
  v1::SubmitJobRequest request = Request("a");
  google::protobuf::Message& train = *request.mutable_config()->mutable_train();
  train.GetReflection()->MutableUnknownFields(&train)->AddLengthDelimited(41, "value");
  const grpc::Status status = Submit(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Reason(status), "UNKNOWN_FIELD");
  EXPECT_TRUE(absl::StrContains(status.error_message(), "train: field 41"))
      << status.error_message();
}

TEST_F(RequestsTest, CallOnTcpMayNotNamePathsElsewhere) {
  Start("listen: '127.0.0.1:0'");
  const std::string token(*ReadFile(dir_ / "s/token"));
  UseChannel(server_->addresses().front());
  const std::string bearer = token.substr(0, token.find('\n'));
  const grpc::Status status = Submit(Request("a"), bearer);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
  EXPECT_EQ(Reason(status), "PATH_NOT_ALLOWED") << status.error_message();
  v1::SubmitJobRequest missing = Request("a");
  missing.mutable_config()->mutable_model()->set_path(dir_ / "nosuch");
  EXPECT_EQ(Reason(Submit(missing, bearer)), "PATH_NOT_ALLOWED");
}

TEST_F(RequestsTest, AllowPathsOpensFoldersToTcp) {
  Start("listen: '127.0.0.1:0'\nallow_paths: [" + dir_.path() + "]");
  const std::string token(*ReadFile(dir_ / "s/token"));
  const std::string bearer = token.substr(0, token.find('\n'));
  UseChannel(server_->addresses().front());
  const grpc::Status status = Submit(Request("a"), bearer);
  EXPECT_TRUE(status.ok()) << status.error_message();
  v1::SubmitJobRequest request = Request("b");
  request.mutable_config()->mutable_data()->set_validation(dir_ / "s/token");
  EXPECT_EQ(Reason(Submit(request, bearer)), "PATH_NOT_ALLOWED");
  request.mutable_config()->mutable_data()->set_validation("/etc/passwd");
  EXPECT_EQ(Reason(Submit(request, bearer)), "PATH_NOT_ALLOWED");
}

TEST_F(RequestsTest, AllowPathsLimitsTheUnixSocketToo) {
  Start("allow_paths: [" + (dir_ / "model") + "]");
  ConnectUnix();
  const grpc::Status status = Submit(Request("a"));
  EXPECT_EQ(Reason(status), "PATH_NOT_ALLOWED");
  EXPECT_TRUE(absl::StrContains(status.error_message(), "data.train[0].path"))
      << status.error_message();
  EXPECT_FALSE(absl::StrContains(status.error_message(), "model.path")) << status.error_message();
}

}  // namespace
}  // namespace trainerd::server
