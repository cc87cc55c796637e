// SPDX-License-Identifier: Apache-2.0
// StreamLogs over a real socket. The test writes the log files and the rows.
#include "server/api/log_stream.h"

#include <fstream>
#include <thread>

#include "proto/contract/run_dir/attempt_files.h"
#include "server/store/rows/run_rows.h"
#include "tests/server/test_env.h"
#include "trainerd/v1/trainer.grpc.pb.h"

namespace trainerd::server {
namespace {

// A service with the call under test only.
class LogService final : public v1::Runs::WithCallbackMethod_StreamLogs<v1::Runs::Service> {
 public:
  LogService(Store& store, LogPoller& poller, StreamLimit& limit)
      : store_(store), poller_(poller), limit_(limit) {}
  grpc::ServerWriteReactor<v1::LogChunk>* StreamLogs(
      grpc::CallbackServerContext* context, const v1::StreamLogsRequest* request) override {
    return StartStreamLogs(store_, poller_, {limit_, "tokens/t"}, context, *request);
  }

 private:
  Store& store_;
  LogPoller& poller_;
  StreamLimit& limit_;
};

class LogStreamTest : public ::testing::Test {
 protected:
  LogStreamTest() {
    auto store = Store::Open({.path = dir_ / "trainerd.db"});
    EXPECT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    poller_ = std::make_unique<LogPoller>();
    service_ = std::make_unique<LogService>(*store_, *poller_, limit_);
    grpc::ServerBuilder builder;
    const std::string address = "unix:" + (dir_ / "s");
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    stub_ = v1::Runs::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));

    JobRecord record = AddJob(*store_, "a", dir_ / "run");
    record.job.set_attempt(1);
    EXPECT_OK(store_->Change([&](Transaction& t) { return StoreJob(t.db(), &record); }));
    SetEnd(v1::Attempt::END_UNSPECIFIED);
    std::filesystem::create_directories(LogDir());
  }
  ~LogStreamTest() override {
    poller_->Wake(/*draining=*/true);
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(2));
  }
  std::string LogDir() { return AttemptDir(dir_ / "run", 1) + "/logs"; }
  void SetEnd(v1::Attempt::End end) {
    EXPECT_OK(store_->Change([&](Transaction& t) {
      v1::Attempt attempt;
      attempt.set_job("jobs/a");
      attempt.set_number(1);
      attempt.set_end(end);
      return StoreAttempt(t.db(), attempt);
    }));
  }
  void Append(const std::string& text, int64_t file_offset = 0) {
    char name[64];
    std::snprintf(name, sizeof name, "/worker.%020lld.log", static_cast<long long>(file_offset));
    std::ofstream(LogDir() + name, std::ios::app) << text;
  }
  // The complete reply to a call without `follow`.
  std::string Read(const std::string& request, int64_t* first_offset = nullptr) {
    grpc::ClientContext context;
    auto reader = stub_->StreamLogs(&context, FromText<v1::StreamLogsRequest>(request));
    std::string text;
    v1::LogChunk chunk;
    while (reader->Read(&chunk)) {
      if (text.empty() && first_offset != nullptr) *first_offset = chunk.offset();
      text += chunk.data();
    }
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return text;
  }

  TempDir dir_;
  FakeClock clock_;
  StreamLimit limit_{10, clock_.Function()};
  std::unique_ptr<Store> store_;
  std::unique_ptr<LogPoller> poller_;
  std::unique_ptr<LogService> service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::Runs::Stub> stub_;
};

TEST_F(LogStreamTest, ReadsFromOffsetOrLastLines) {
  Append("one\ntwo\nthree\n");
  EXPECT_EQ(Read("name: 'jobs/a'"), "one\ntwo\nthree\n");
  EXPECT_EQ(Read("name: 'jobs/a' after_offset: 4"), "two\nthree\n");
  EXPECT_EQ(Read("name: 'jobs/a' tail_lines: 1"), "three\n");
}

TEST_F(LogStreamTest, KeepsOffsetsAcrossRotation) {
  Append("old\n", 0);
  Append("new\n", 4);
  EXPECT_EQ(Read("name: 'jobs/a'"), "old\nnew\n");
  std::filesystem::remove(LogDir() + "/worker.00000000000000000000.log");
  int64_t first = 0;
  EXPECT_EQ(Read("name: 'jobs/a'", &first), "new\n");
  EXPECT_EQ(first, 4);
}

TEST_F(LogStreamTest, FollowsUntilAttemptEndsWithoutGap) {
  Append("begin\n");
  std::string text;
  std::thread follower([&] { text = Read("name: 'jobs/a' follow: true"); });
  std::string expected = "begin\n";
  for (int i = 0; i < 20; ++i) {
    const std::string line = "line " + std::to_string(i) + "\n";
    Append(line);
    expected += line;
  }
  SetEnd(v1::Attempt::COMPLETED);
  follower.join();
  EXPECT_EQ(text, expected);
}

TEST_F(LogStreamTest, DrainEndsFollowers) {
  Append("x\n");
  grpc::ClientContext context;
  auto reader =
      stub_->StreamLogs(&context, FromText<v1::StreamLogsRequest>("name: 'jobs/a' follow: true"));
  v1::LogChunk chunk;
  ASSERT_TRUE(reader->Read(&chunk));
  poller_->Wake(/*draining=*/true);
  EXPECT_FALSE(reader->Read(&chunk));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(LogStreamTest, ForgetsDisconnectedFollower) {
  Append("x\n");
  grpc::ClientContext context;
  auto reader =
      stub_->StreamLogs(&context, FromText<v1::StreamLogsRequest>("name: 'jobs/a' follow: true"));
  v1::LogChunk chunk;
  ASSERT_TRUE(reader->Read(&chunk));
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(LogStreamTest, EndsWithItsTokenThoughTheClientDoesNotRead) {
  // More than the flow control lets through.
  Append(std::string(8 << 20, 'x'));
  const auto count_open = [&] {
    int open = 0;
    limit_.EndRevoked([&](const std::string&) {
      ++open;
      return true;
    });
    return open;
  };
  grpc::ClientContext context;
  auto reader = stub_->StreamLogs(&context, FromText<v1::StreamLogsRequest>("name: 'jobs/a'"));
  while (count_open() == 0) absl::SleepFor(absl::Milliseconds(5));
  // Until a write is outstanding, which does not end by itself. Before that, the call ends at once.
  absl::SleepFor(absl::Milliseconds(500));
  const auto nobody = [](const std::string&) { return false; };
  limit_.EndRevoked(nobody);
  clock_.Advance(kRevokePatience);
  limit_.EndRevoked(nobody);
  for (int i = 0; i < 2000 && count_open() > 0; ++i) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_EQ(count_open(), 0);
  v1::LogChunk chunk;
  while (reader->Read(&chunk)) {
  }
  EXPECT_FALSE(reader->Finish().ok());
}

}  // namespace
}  // namespace trainerd::server
