// SPDX-License-Identifier: Apache-2.0
// The calls of the API, over the unix socket and over loopback TCP.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/contract/job/revision.h"
#include "tests/server/api/api_fixture.h"

namespace trainerd::server {
namespace {

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
  settings_.set_max_watchers(1);
  ASSERT_OK(StartServer("s"));
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
  ASSERT_OK(StartServer("s", {"127.0.0.1:0"}));
  struct stat info;
  ASSERT_EQ(::stat((dir_ / "s/token").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  std::string token = *ReadFile(dir_ / "s/token");
  while (!token.empty() && token.back() == '\n') token.pop_back();
  channel_ = grpc::CreateChannel(server_->addresses()[0], grpc::InsecureChannelCredentials());
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
  ASSERT_OK(StartServer("s", {"127.0.0.1:0"}));
  const std::string address = server_->addresses()[0];
  std::unique_ptr<Server> first = std::move(server_);
  const absl::Status second = StartServer("t", {address});
  EXPECT_TRUE(absl::IsUnavailable(second)) << second;
  EXPECT_TRUE(absl::StrContains(second.message(), address)) << second;
}

TEST_F(ApiTest, RefusesNonLoopbackAddressWithReason) {
  for (const char* listen :
       {"0.0.0.0:5000", "192.168.1.5:5000", "[::]:5000", "example.org:1", "nonsense"}) {
    const absl::Status status = StartServer("s", {listen});
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

TEST_F(ApiTest, ServesSeveralAddressesAtOnce) {
  const std::string second = dir_ / "second.sock";
  ASSERT_OK(StartServer("s", {"unix", "unix:" + second, "127.0.0.1:0", "[::1]:0"}));
  const std::vector<std::string> addresses = server_->addresses();
  ASSERT_EQ(addresses.size(), 4u);
  EXPECT_EQ(addresses[0], "unix:" + (dir_ / "s/trainerd.sock"));
  EXPECT_EQ(addresses[1], "unix:" + second);
  EXPECT_TRUE(absl::StartsWith(addresses[2], "127.0.0.1:")) << addresses[2];
  EXPECT_FALSE(absl::EndsWith(addresses[2], ":0")) << addresses[2];
  EXPECT_TRUE(absl::StartsWith(addresses[3], "[::1]:")) << addresses[3];
  struct stat info;
  ASSERT_EQ(::stat(second.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u) << "only its owner can connect";
  std::string token = *ReadFile(dir_ / "s/token");
  while (!token.empty() && token.back() == '\n') token.pop_back();
  for (const std::string& address : addresses) {
    auto admin = v1::Admin::NewStub(NewChannel(address));
    grpc::ClientContext context;
    if (!absl::StartsWith(address, "unix:"))
      context.AddMetadata("authorization", "Bearer " + token);
    v1::ServerInfo info;
    ASSERT_TRUE(admin->GetServerInfo(&context, {}, &info).ok()) << address;
    EXPECT_EQ(std::vector<std::string>(info.addresses().begin(), info.addresses().end()),
              addresses);
  }
  server_.reset();
  EXPECT_FALSE(std::filesystem::exists(second));
  EXPECT_FALSE(std::filesystem::exists(dir_ / "s/trainerd.sock"));
}

TEST_F(ApiTest, ReplacesOnlySocketFilesThatNobodyServes) {
  const std::string path = dir_ / "x.sock";
  std::ofstream(path) << "data";
  absl::Status status = StartServer("s", {"unix:" + path});
  EXPECT_TRUE(absl::IsAlreadyExists(status)) << status;
  EXPECT_TRUE(std::filesystem::is_regular_file(path));
  std::filesystem::remove(path);
  ASSERT_OK(StartServer("s", {"unix:" + path}));
  const std::unique_ptr<Server> first = std::move(server_);
  status = StartServer("t", {"unix:" + path});
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), path)) << status;
  // The socket file of a daemon that was killed.
  const std::string stale = dir_ / "stale.sock";
  {
    auto socket = ListenSocket::Open({.is_unix = true, .display = "unix:" + stale});
    ASSERT_OK(socket.status());
    std::filesystem::rename(stale, stale + ".kept");
  }
  std::filesystem::rename(stale + ".kept", stale);
  EXPECT_OK(StartServer("u", {"unix:" + stale}));
}

// What an orchestrator's probe gets, with and without the name of a service.
grpc::Status CheckHealth(const std::shared_ptr<grpc::Channel>& channel, const std::string& service,
                         std::string* serving) {
  // HealthCheckRequest{service = 1}, HealthCheckResponse{status = 1}: SERVING is 1.
  std::string bytes;
  if (!service.empty()) bytes = absl::StrCat("\x0a", std::string(1, char(service.size())), service);
  grpc::Slice slice(bytes);
  grpc::ByteBuffer request(&slice, 1), response;
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  grpc::GenericStub stub(channel);
  auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", request, &queue);
  call->StartCall();
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  grpc::Slice answer;
  *serving = status.ok() && response.DumpToSingleSlice(&answer).ok()
                 ? std::string(answer.begin(), answer.end())
                 : "";
  return status;
}

TEST_F(ApiTest, HealthAnswersPerServiceWithoutToken) {
  ASSERT_OK(StartServer("s", {"unix", "127.0.0.1:0"}));
  for (const std::string& address : server_->addresses()) {
    const auto channel = NewChannel(address);
    std::string serving;
    for (const char* service :
         {"", "trainerd.v1.Trainer", "trainerd.v1.Runs", "trainerd.v1.Checkpoints",
          "trainerd.v1.Admin", "grpc.health.v1.Health"}) {
      const grpc::Status status = CheckHealth(channel, service, &serving);
      EXPECT_TRUE(status.ok()) << address << " " << service << " " << status.error_message();
      EXPECT_EQ(serving, "\x08\x01") << address << " " << service;
    }
    EXPECT_EQ(CheckHealth(channel, "trainerd.v1.Nobody", &serving).error_code(),
              grpc::StatusCode::NOT_FOUND);
  }
}

TEST_F(ApiTest, RefusesRequestAbove4MiB) {
  ASSERT_OK(StartServer("s"));
  Connect("s");
  v1::SubmitJobRequest request = Request("a");
  request.mutable_config()->mutable_data()->set_system_prompt(std::string((4 << 20) + 1, 'x'));
  EXPECT_EQ(Submit(request).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(Submit("a").ok()) << "the connection stays";
}

TEST_F(ApiTest, EmptyAfterSendsWhatHappensAfterTheCallArrived) {
  ASSERT_OK(StartServer("s"));
  Connect("s");
  ASSERT_TRUE(Submit("before").ok());
  grpc::ClientContext context;
  v1::StreamStatusRequest request;
  request.set_parent("jobs/-");
  auto reader = trainer_->StreamStatus(&context, request);
  // The headers are sent once the position is fixed.
  reader->WaitForInitialMetadata();
  ASSERT_TRUE(Submit("after").ok());
  v1::StreamStatusResponse message;
  std::vector<std::string> submitted;
  while (submitted.empty() && reader->Read(&message)) {
    for (const v1::Event& event : message.events()) {
      if (event.state_changed().reason() == "submitted") submitted.push_back(event.job());
    }
  }
  ASSERT_FALSE(submitted.empty());
  EXPECT_EQ(submitted.front(), "jobs/after");
  context.TryCancel();
  reader->Finish();
}

// Each job is stopped at once by another thread. A watch from the cursor of the answer to
// SubmitJob must contain that, and nothing from before.
TEST_F(ApiTest, CursorOfSubmitLosesNothing) {
  constexpr int kThreads = 10, kJobsPerThread = 100;
  ASSERT_OK(StartServer("s"));
  Connect("s");
  std::atomic<int> lost{0}, early{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int n = 0; n < kJobsPerThread; ++n) {
        const std::string id = absl::StrCat("t", t, "-", n);
        v1::Job job, stopped;
        EXPECT_TRUE(Submit(id, &job).ok());
        EXPECT_TRUE(Stop(id, &stopped).ok());
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
        v1::StreamStatusRequest request;
        request.set_parent(job.name());
        request.set_after(job.cursor());
        request.set_until_terminal(true);
        auto reader = trainer_->StreamStatus(&context, request);
        v1::StreamStatusResponse message;
        int cancelled = 0;
        while (reader->Read(&message)) {
          for (const v1::Event& event : message.events()) {
            cancelled += event.state_changed().to_state() == v1::Job::CANCELLED;
            early += event.state_changed().reason() == "submitted";
          }
        }
        EXPECT_TRUE(reader->Finish().ok());
        lost += cancelled != 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(lost, 0);
  EXPECT_EQ(early, 0) << "the answer already contained it";
}

}  // namespace
}  // namespace trainerd::server
