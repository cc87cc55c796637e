// SPDX-License-Identifier: Apache-2.0
// The daemon ends within 5 s whatever its clients do. They are real gRPC clients; a proxy that no
// longer reads stands for a process that is stopped (Ctrl-Z).
#include <signal.h>

#include <atomic>

#include "absl/strings/str_cat.h"
#include "tests/server/api/api_fixture.h"
#include "tests/server/api/proxy.h"

namespace trainerd::server {
namespace {

constexpr absl::Duration kLimit = absl::Seconds(5);

class ShutdownTest : public ApiTest {
 protected:
  // A snapshot of all jobs is some MiB: more than sockets and flow control take in.
  void Start() {
    settings_.set_max_watchers(500);
    ASSERT_OK(StartServer("s"));
    Connect("s");
    for (int n = 0; n < 200; ++n) {
      v1::SubmitJobRequest request = Request(absl::StrCat("j", n));
      for (int label = 0; label < 60; ++label)
        (*request.mutable_config()->mutable_labels())[absl::StrCat("k", label)] =
            std::string(250, 'v');
      ASSERT_TRUE(Submit(request).ok());
    }
  }
  void ExpectQuickEnd() {
    const absl::Time begin = absl::Now();
    server_.reset();
    EXPECT_LT(absl::Now() - begin, kLimit);
    // The lock is free: the next daemon starts.
    EXPECT_OK(StartServer("s"));
  }
  // Watchers of all jobs with a snapshot, each on a connection of its own. They read nothing.
  struct Reader {
    std::unique_ptr<v1::Trainer::Stub> trainer;
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::StreamStatusResponse>> reader;
  };
  std::unique_ptr<Reader> OpenReader(const std::string& address,
                                     const grpc::ChannelArguments& arguments = {}) {
    auto reader = std::make_unique<Reader>();
    reader->trainer = v1::Trainer::NewStub(NewChannel(address, arguments));
    v1::StreamStatusRequest request;
    request.set_parent("jobs/-");
    request.set_send_snapshot(true);
    reader->reader = reader->trainer->StreamStatus(&reader->context, request);
    return reader;
  }
  // Inspections last 10 minutes. Returns a request for one.
  v1::SubmitJobRequest StartWithLongInspection() {
    settings_.set_inspect_path(dir_.Write(
        "inspect", "#!/bin/sh\necho $$ > " + (dir_ / "pid") + "\nexec sleep 600\n", 0700));
    EXPECT_OK(StartServer("s"));
    Connect("s");
    v1::SubmitJobRequest request = Request("");
    request.set_validate_only(true);
    return request;
  }
  // Waits until an inspection has begun.
  pid_t InspectionProcess() {
    while (!std::filesystem::exists(dir_ / "pid") || std::filesystem::file_size(dir_ / "pid") == 0)
      absl::SleepFor(absl::Milliseconds(5));
    pid_t pid = 0;
    std::ifstream(dir_ / "pid") >> pid;
    return pid;
  }
  static void Close(std::unique_ptr<Reader> reader) {
    reader->context.TryCancel();
    reader->reader->Finish();
  }
};

TEST_F(ShutdownTest, ReadersThatStopReading) {
  Start();
  std::vector<std::unique_ptr<Reader>> readers;
  for (int n = 0; n < 50; ++n) {
    readers.push_back(OpenReader(socket()));
    readers.back()->reader->WaitForInitialMetadata();
  }
  ExpectQuickEnd();
  for (auto& reader : readers) Close(std::move(reader));
}

// What the daemon sends stays in the socket, which is full before the flow control of HTTP/2 ends
// the sending: the daemon's write is in progress for as long as the process sleeps.
TEST_F(ShutdownTest, ClientsWhoseProcessIsStopped) {
  Start();
  Proxy proxy({.upstream = dir_ / "s/trainerd.sock", .pass_bytes = 4000});
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 16 << 20);
  std::vector<std::unique_ptr<Reader>> readers;
  for (int n = 0; n < 50; ++n) readers.push_back(OpenReader(proxy.address(), arguments));
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (proxy.stalled() < 50 && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(10));
  EXPECT_EQ(proxy.stalled(), 50);
  ExpectQuickEnd();
  for (auto& reader : readers) Close(std::move(reader));
}

TEST_F(ShutdownTest, WaitersAndLogFollowers) {
  ASSERT_OK(StartServer("s"));
  Connect("s");
  ASSERT_TRUE(Submit("a").ok());
  std::vector<std::thread> waiters;
  std::atomic<int> unavailable{0};
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  for (int n = 0; n < 20; ++n) channels.push_back(NewChannel(socket()));
  std::atomic<int> open{0};
  for (int n = 0; n < 20; ++n) {
    waiters.emplace_back([&, n] {
      auto trainer = v1::Trainer::NewStub(channels[static_cast<size_t>(n)]);
      v1::WaitJobRequest request;
      request.set_name("jobs/a");
      request.mutable_timeout()->set_seconds(3600);
      grpc::ClientContext context;
      v1::Job job;
      ++open;
      unavailable +=
          trainer->WaitJob(&context, request, &job).error_code() == grpc::StatusCode::UNAVAILABLE;
    });
  }
  while (open < 20) absl::SleepFor(absl::Milliseconds(5));
  absl::SleepFor(absl::Milliseconds(300));
  ExpectQuickEnd();
  for (std::thread& waiter : waiters) waiter.join();
  EXPECT_EQ(unavailable, 20);
}

TEST_F(ShutdownTest, EndsInspectionsAtOnce) {
  const v1::SubmitJobRequest request = StartWithLongInspection();
  grpc::Status status;
  std::thread caller([&] { status = Submit(request); });
  const pid_t pid = InspectionProcess();
  ExpectQuickEnd();
  caller.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << status.error_message();
  EXPECT_NE(::kill(pid, 0), 0);
}

TEST_F(ShutdownTest, CancelledCallEndsItsInspection) {
  const v1::SubmitJobRequest request = StartWithLongInspection();
  grpc::ClientContext context;
  std::thread caller([&] {
    v1::SubmitJobResponse response;
    EXPECT_EQ(trainer_->SubmitJob(&context, request, &response).error_code(),
              grpc::StatusCode::CANCELLED);
  });
  const pid_t pid = InspectionProcess();
  EXPECT_EQ(::kill(pid, 0), 0);
  context.TryCancel();
  caller.join();
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  while (::kill(pid, 0) == 0 && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_NE(::kill(pid, 0), 0);
}

// A client that finds no socket file concludes that no daemon runs.
TEST_F(ShutdownTest, SocketFileIsRemovedLast) {
  Start();
  const std::string path = dir_ / "s/trainerd.sock";
  auto reader = OpenReader(socket());
  reader->reader->WaitForInitialMetadata();
  std::atomic<bool> ended{false};
  std::thread end([&] {
    server_.reset();
    ended = true;
  });
  // The stopped reader makes the shutdown take a while.
  bool seen_lock_without_socket = false;
  while (!ended) {
    if (!std::filesystem::exists(path)) {
      // Whoever gets the lock is alone.
      seen_lock_without_socket |= StateDir::Lock(dir_ / "s", absl::Seconds(1)).ok() == false;
    }
    absl::SleepFor(absl::Milliseconds(1));
  }
  end.join();
  EXPECT_FALSE(seen_lock_without_socket);
  EXPECT_FALSE(std::filesystem::exists(path));
  Close(std::move(reader));
}

}  // namespace
}  // namespace trainerd::server
