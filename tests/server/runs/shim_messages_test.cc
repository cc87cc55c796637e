// SPDX-License-Identifier: Apache-2.0
// What the daemon and a shim send each other: actions that the worker does not take, and versions.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "proto/base/atomic_file.h"
#include "proto/contract/run_dir/framing.h"
#include "server/runs/shim_client.h"
#include "tests/server/runs/local_executor_fixture.h"

namespace trainerd::server {
namespace {

using Kind = Observation::Kind;
using ::testing::HasSubstr;

internal::ShimReply SayHello(const std::string& attempt_dir) {
  internal::ShimReply reply;
  EXPECT_TRUE(ShimClient::Connect(attempt_dir, kPatience, &reply).ok());
  return reply;
}

// The worker reads no commands until the file `go` exists, then copies them to a file.
TEST_F(LocalExecutorTest, ReportsUndeliveredActionAndDeliversItOnRetry) {
  std::filesystem::create_directories(root_);
  const std::string worker = root_ + "/worker", go = root_ + "/go", received = root_ + "/received";
  ASSERT_TRUE(
      WriteFileAtomic(worker,
                      absl::StrCat("#!/bin/sh\nwhile [ ! -e ", go,
                                   " ]; do sleep 0.02; done\nexec cat <&3 >", received, "\n"),
                      0700)
          .ok());
  internal::AttemptSpec spec = Spec(1, {});
  spec.set_worker_path(worker);
  ASSERT_TRUE(executor_.Launch(spec).ok());
  WaitForKind(1, Kind::kRunning);
  // CHECKPOINT may be repeated without end: until the worker's socket takes no more.
  absl::Status sent;
  for (int i = 0; i < 100'000 && sent.ok(); ++i) {
    sent = executor_.Signal(Ref(1), internal::CHECKPOINT, absl::ZeroDuration());
  }
  ASSERT_TRUE(absl::IsUnavailable(sent)) << sent;
  for (int i = 0; i < 2; ++i) {
    sent = executor_.Signal(Ref(1), internal::PAUSE, absl::Minutes(5));
    EXPECT_TRUE(absl::IsUnavailable(sent)) << "try " << i << ": " << sent;
    EXPECT_THAT(std::string(sent.message()), HasSubstr("does not read its commands"));
  }
  EXPECT_EQ(SayHello(Dir(1)).action(), internal::REQUESTED_ACTION_UNSPECIFIED);
  ASSERT_TRUE(WriteFileAtomic(go, "").ok());
  ASSERT_TRUE(
      WaitFor([&] { return executor_.Signal(Ref(1), internal::PAUSE, absl::Minutes(5)).ok(); }));
  EXPECT_EQ(SayHello(Dir(1)).action(), internal::PAUSE);
  internal::WorkerCommand pause;
  pause.set_action(internal::PAUSE);
  const std::string bytes = pause.SerializeAsString();
  EXPECT_TRUE(WaitFor([&] {
    const absl::StatusOr<std::string> text = ReadFile(received);
    return text.ok() && absl::EndsWith(*text, bytes);
  }));
}

// The answer of a shim to a daemon that speaks protocols `min` to `max`.
internal::ShimReply Hello(const std::string& attempt_dir, int min, int max) {
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof(address.sun_path), "%s/control.sock", attempt_dir.c_str());
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  internal::ShimRequest request;
  request.mutable_hello()->set_protocol_min(min);
  request.mutable_hello()->set_protocol_max(max);
  EXPECT_TRUE(WriteSocketFrame(fd, request.SerializeAsString()).ok());
  const absl::StatusOr<std::optional<std::string>> frame = ReadSocketFrame(fd, 10000);
  internal::ShimReply reply;
  EXPECT_TRUE(frame.ok() && frame->has_value() && reply.ParseFromString(**frame));
  close(fd);
  return reply;
}

TEST_F(LocalExecutorTest, NegotiatesTheProtocolVersionOrReportsNone) {
  ASSERT_TRUE(executor_.Launch(Spec(1, {{"fake.steps", "100000"}})).ok());
  WaitForKind(1, Kind::kRunning);
  EXPECT_EQ(Hello(Dir(1), 1, 9).protocol(), 1);
  const internal::ShimReply stranger = Hello(Dir(1), 8, 9);
  EXPECT_EQ(stranger.protocol(), 0);
  EXPECT_THAT(stranger.error(), HasSubstr("the daemon 8 to 9"));
}

}  // namespace
}  // namespace trainerd::server
