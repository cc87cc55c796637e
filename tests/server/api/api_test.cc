// SPDX-License-Identifier: Apache-2.0
// The daemon in this process, over its unix socket and over loopback TCP. There is no worker
// program, so jobs stay in the queue.
#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "absl/strings/match.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "proto/base/atomic_file.h"
#include "proto/contract/job/revision.h"
#include "server/server.h"
#include "tests/server/test_env.h"
#include "trainerd/v1/trainer.grpc.pb.h"

namespace trainerd::server {
namespace {

class ApiTest : public ::testing::Test {
 protected:
  ApiTest() {
    std::filesystem::create_directories(dir_ / "model");
    std::ofstream(dir_ / "d.jsonl") << "{}\n";
  }
  absl::Status StartServer(const std::string& state, const std::string& listen = "unix",
                           int watchers = 100) {
    std::vector<ConfigViolation> violations;
    v1::ServerConfig config;
    config.set_state_dir(dir_ / state);
    config.set_listen(listen);
    config.set_max_watchers(watchers);
    config.set_worker_path(dir_ / "no-worker");
    config.set_shim_path(dir_ / "no-shim");
    config.set_inspect_path(dir_ / "no-inspect");
    auto server =
        Server::Start({.config = ResolveServerConfig(config, &violations), .version = "test"});
    if (!server.ok()) return server.status();
    server_ = *std::move(server);
    return absl::OkStatus();
  }
  // The socket's path may be too long for a socket address, so the folder's descriptor is used.
  void Connect(const std::string& state) {
    folder_ = ::open((dir_ / state).c_str(), O_RDONLY | O_DIRECTORY);
    channel_ =
        grpc::CreateChannel("unix:/proc/self/fd/" + std::to_string(folder_) + "/trainerd.sock",
                            grpc::InsecureChannelCredentials());
    trainer_ = v1::Trainer::NewStub(channel_);
  }
  v1::SubmitJobRequest Request(const std::string& id) {
    v1::SubmitJobRequest request;
    request.set_job_id(id);
    request.mutable_config()->mutable_model()->set_path(dir_ / "model");
    request.mutable_config()->mutable_data()->add_train()->set_path(dir_ / "d.jsonl");
    return request;
  }
  grpc::Status Submit(const std::string& id) {
    grpc::ClientContext context;
    v1::SubmitJobResponse response;
    return trainer_->SubmitJob(&context, Request(id), &response);
  }
  grpc::Status Stop(const std::string& id) {
    grpc::ClientContext context;
    v1::StopRequest request;
    request.set_name("jobs/" + id);
    v1::Job job;
    return trainer_->Stop(&context, request, &job);
  }

  TempDir dir_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Trainer::Stub> trainer_;
  int folder_ = -1;
};

TEST_F(ApiTest, ServesStateDirectoryWith200CharacterPath) {
  const std::string state = std::string(200, 's');
  ASSERT_OK(StartServer(state));
  Connect(state);
  ASSERT_TRUE(Submit("a").ok());
  grpc::ClientContext context;
  v1::ListJobsResponse list;
  ASSERT_TRUE(trainer_->ListJobs(&context, {}, &list).ok());
  ASSERT_EQ(list.jobs_size(), 1);
  EXPECT_EQ(list.jobs(0).name(), "jobs/a");
  EXPECT_FALSE(list.cursor().empty());
}

TEST_F(ApiTest, ErrorsHaveDetails) {
  ASSERT_OK(StartServer("s"));
  Connect("s");
  v1::SubmitJobRequest request = Request("a");
  request.mutable_config()->mutable_model()->set_path("/nowhere");
  request.mutable_config()->mutable_train()->set_batch_size(0);
  grpc::ClientContext context;
  v1::SubmitJobResponse response;
  const grpc::Status status = trainer_->SubmitJob(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  google::rpc::BadRequest bad;
  ASSERT_EQ(details.details_size(), 1);
  ASSERT_TRUE(details.details(0).UnpackTo(&bad));
  EXPECT_EQ(bad.field_violations(0).field(), "train.batch_size");
}

TEST_F(ApiTest, StreamSendsSnapshotThenEventsUntilJobEnds) {
  ASSERT_OK(StartServer("s"));
  Connect("s");
  ASSERT_TRUE(Submit("a").ok());
  grpc::ClientContext context;
  v1::StreamStatusRequest request;
  request.set_parent("jobs/a");
  request.set_send_snapshot(true);
  request.set_until_terminal(true);
  auto reader = trainer_->StreamStatus(&context, request);
  v1::StreamStatusResponse message;
  ASSERT_TRUE(reader->Read(&message));
  ASSERT_EQ(message.snapshot_size(), 1);
  EXPECT_TRUE(message.snapshot_complete());
  const std::string cursor = message.cursor();
  ASSERT_TRUE(Stop("a").ok());
  int ended = 0;
  while (reader->Read(&message)) {
    for (const v1::Event& e : message.events())
      ended += e.state_changed().to_state() == v1::Job::CANCELLED;
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(ended, 1);
  // Watching from the snapshot's cursor sends exactly the rest.
  grpc::ClientContext again;
  request.set_send_snapshot(false);
  request.set_after(cursor);
  reader = trainer_->StreamStatus(&again, request);
  ended = 0;
  while (reader->Read(&message)) ended += message.events_size();
  EXPECT_GE(ended, 1);
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(ApiTest, RefusesExpiredCursor) {
  ASSERT_OK(StartServer("s"));
  Connect("s");
  grpc::ClientContext context;
  v1::StreamStatusRequest request;
  request.set_parent("jobs/-");
  request.set_after("0123456789abcdef-5");
  auto reader = trainer_->StreamStatus(&context, request);
  v1::StreamStatusResponse message;
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::OUT_OF_RANGE);
}

TEST_F(ApiTest, WaitJobRepliesAtStateEndOrTimeout) {
  ASSERT_OK(StartServer("s"));
  Connect("s");
  ASSERT_TRUE(Submit("a").ok());
  v1::WaitJobRequest request;
  request.set_name("jobs/a");
  request.add_states(v1::Job::RUNNING);
  request.mutable_timeout()->set_nanos(50'000'000);
  v1::Job job;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(trainer_->WaitJob(&context, request, &job).ok());
    EXPECT_EQ(job.state(), v1::Job::QUEUED) << "as it is at the timeout";
  }
  request.mutable_timeout()->set_seconds(60);
  std::thread stopper([&] { EXPECT_TRUE(Stop("a").ok()); });
  grpc::ClientContext context;
  EXPECT_TRUE(trainer_->WaitJob(&context, request, &job).ok());
  EXPECT_EQ(job.state(), v1::Job::CANCELLED);
  stopper.join();
}

TEST_F(ApiTest, RefusesStreamsBeyondLimitWithRetryDelay) {
  ASSERT_OK(StartServer("s", "unix", /*watchers=*/1));
  Connect("s");
  ASSERT_TRUE(Submit("a").ok());
  v1::StreamStatusRequest request;
  request.set_parent("jobs/-");
  request.set_send_snapshot(true);
  grpc::ClientContext first_context, second_context;
  auto first = trainer_->StreamStatus(&first_context, request);
  v1::StreamStatusResponse message;
  ASSERT_TRUE(first->Read(&message));
  auto second = trainer_->StreamStatus(&second_context, request);
  EXPECT_FALSE(second->Read(&message));
  EXPECT_EQ(second->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  first_context.TryCancel();
  first->Finish();
}

TEST_F(ApiTest, ShutdownEndsWaitingStreams) {
  ASSERT_OK(StartServer("s"));
  Connect("s");
  ASSERT_TRUE(Submit("a").ok());
  v1::StreamStatusRequest request;
  request.set_parent("jobs/a");
  request.set_send_snapshot(true);
  grpc::ClientContext context;
  auto reader = trainer_->StreamStatus(&context, request);
  v1::StreamStatusResponse message;
  ASSERT_TRUE(reader->Read(&message));
  // The write of the line above may still be in flight.
  server_.reset();
  while (reader->Read(&message)) {
  }
  const grpc::Status end = reader->Finish();
  EXPECT_EQ(end.error_code(), grpc::StatusCode::UNAVAILABLE) << end.error_message();
  EXPECT_TRUE(absl::StrContains(end.error_message(), "call again")) << end.error_message();
}

TEST_F(ApiTest, TcpRequiresTokenInEachCallOfEachService) {
  ASSERT_OK(StartServer("s", "127.0.0.1:0"));
  struct stat info;
  ASSERT_EQ(::stat((dir_ / "s/token").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  std::string token = *ReadFile(dir_ / "s/token");
  while (!token.empty() && token.back() == '\n') token.pop_back();
  channel_ = grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials());
  trainer_ = v1::Trainer::NewStub(channel_);
  std::string message_of_call;
  auto call = [&](const std::string& authorization) {
    grpc::ClientContext context;
    if (!authorization.empty()) context.AddMetadata("authorization", authorization);
    v1::ListJobsResponse list;
    const grpc::Status status = trainer_->ListJobs(&context, {}, &list);
    message_of_call = status.error_message();
    return status.error_code();
  };
  EXPECT_EQ(call(""), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(absl::StrContains(message_of_call, "requires")) << message_of_call;
  EXPECT_EQ(call("Bearer wrong"), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(absl::StrContains(message_of_call, "the token was refused")) << message_of_call;
  EXPECT_EQ(call("Bearer " + token + "x"), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(call("Bearer " + token), grpc::StatusCode::OK);
  grpc::ClientContext context;
  v1::StreamStatusRequest watch;
  watch.set_parent("jobs/-");
  auto reader = trainer_->StreamStatus(&context, watch);
  v1::StreamStatusResponse message;
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAUTHENTICATED) << "streams too";
  auto admin = v1::Admin::NewStub(channel_);
  grpc::ClientContext admin_context;
  v1::ServerInfo server_info;
  EXPECT_EQ(admin->GetServerInfo(&admin_context, {}, &server_info).error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(ApiTest, SecondServerOnPortReportsThatItIsInUse) {
  ASSERT_OK(StartServer("s", "127.0.0.1:0"));
  const std::string address = server_->address();
  std::unique_ptr<Server> first = std::move(server_);
  const absl::Status second = StartServer("t", address);
  EXPECT_TRUE(absl::IsUnavailable(second)) << second;
  EXPECT_TRUE(absl::StrContains(second.message(), address)) << second;
}

TEST_F(ApiTest, RefusesNonLoopbackAddressWithReason) {
  for (const char* listen :
       {"0.0.0.0:5000", "192.168.1.5:5000", "[::]:5000", "example.org:1", "nonsense"}) {
    const absl::Status status = StartServer("s", listen);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << listen << ": " << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "neither encrypted nor authenticated"))
        << status;
  }
}

TEST_F(ApiTest, ServerInfoHasDatabaseAndApiRevision) {
  ASSERT_OK(StartServer("s"));
  Connect("s");
  auto admin = v1::Admin::NewStub(channel_);
  grpc::ClientContext context;
  v1::ServerInfo info;
  ASSERT_TRUE(admin->GetServerInfo(&context, {}, &info).ok());
  EXPECT_EQ(info.version(), "test");
  EXPECT_EQ(info.api_revision(), kApiRevision);
  EXPECT_EQ(info.database_id().size(), 16u);
  EXPECT_EQ(info.state_dir(), dir_ / "s");
}

TEST_F(ApiTest, RefusesLogOfJobThatHasNotStarted) {
  ASSERT_OK(StartServer("s"));
  Connect("s");
  ASSERT_TRUE(Submit("a").ok());
  auto runs = v1::Runs::NewStub(channel_);
  grpc::ClientContext context;
  v1::StreamLogsRequest request;
  request.set_name("jobs/a");
  auto reader = runs->StreamLogs(&context, request);
  v1::LogChunk chunk;
  EXPECT_FALSE(reader->Read(&chunk));
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_TRUE(absl::StrContains(status.error_message(), "has not started yet"))
      << status.error_message();
}

}  // namespace
}  // namespace trainerd::server
