// SPDX-License-Identifier: Apache-2.0
// The control socket with correct and faulty clients. The test polls the server itself.
#include "server/shim/control_server.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "gtest/gtest.h"
#include "proto/contract/run_dir/framing.h"
#include "tests/temp_dir.h"

namespace trainerd::server {
namespace {

class ControlServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    server_ = ControlServer::Listen(dir_, [this](const internal::ShimRequest& request) {
                ++requests_;
                internal::ShimReply reply;
                reply.set_protocol(1);
                reply.set_action(request.signal().action());
                return reply;
              }).value();
  }
  int Connect() const {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof(address.sun_path), "%s/control.sock", dir_.c_str());
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  }
  // Serves until no descriptor is ready.
  void Serve() {
    while (true) {
      std::vector<pollfd> fds;
      server_->AddPollFds(&fds);
      if (poll(fds.data(), fds.size(), 0) <= 0) return;
      server_->Serve(fds.data());
    }
  }
  static std::string SignalBytes(internal::RequestedAction action) {
    internal::ShimRequest request;
    request.mutable_signal()->set_action(action);
    return request.SerializeAsString();
  }
  static internal::RequestedAction Reply(int fd) {
    const absl::StatusOr<std::optional<std::string>> frame = ReadSocketFrame(fd, 10000);
    internal::ShimReply reply;
    EXPECT_TRUE(frame.ok() && frame->has_value() && reply.ParseFromString(**frame));
    return reply.action();
  }
  static bool Closed(int fd) {
    const absl::StatusOr<std::optional<std::string>> frame = ReadSocketFrame(fd, 10000);
    return !frame.ok() || !frame->has_value();
  }

  TempDir temp_;
  const std::string dir_ = temp_.path();
  int requests_ = 0;
  std::unique_ptr<ControlServer> server_;
};

TEST_F(ControlServerTest, AnswersSeveralClientsInTheirOrder) {
  const int a = Connect(), b = Connect();
  ASSERT_TRUE(WriteSocketFrame(a, SignalBytes(internal::PAUSE)).ok());
  ASSERT_TRUE(WriteSocketFrame(b, SignalBytes(internal::STOP)).ok());
  ASSERT_TRUE(WriteSocketFrame(a, SignalBytes(internal::DISCARD)).ok());
  Serve();
  EXPECT_EQ(Reply(a), internal::PAUSE);
  EXPECT_EQ(Reply(a), internal::DISCARD);
  EXPECT_EQ(Reply(b), internal::STOP);
  close(a);
  ASSERT_TRUE(WriteSocketFrame(b, SignalBytes(internal::KILL)).ok());
  Serve();
  EXPECT_EQ(Reply(b), internal::KILL);
  close(b);
}

TEST_F(ControlServerTest, AnswersAFrameThatArrivesInPieces) {
  const int fd = Connect();
  const std::string payload = SignalBytes(internal::STOP);
  std::string frame = {static_cast<char>(payload.size()), 0, 0, 0};
  frame += payload;
  for (char byte : frame) {
    EXPECT_EQ(requests_, 0);
    ASSERT_EQ(write(fd, &byte, 1), 1);
    Serve();
  }
  EXPECT_EQ(requests_, 1);
  EXPECT_EQ(Reply(fd), internal::STOP);
  close(fd);
}

TEST_F(ControlServerTest, DisconnectsAClientThatSendsAnInvalidLength) {
  const int bad = Connect(), good = Connect();
  ASSERT_EQ(write(bad, "\xff\xff\xff\x7f", 4), 4);
  ASSERT_TRUE(WriteSocketFrame(good, SignalBytes(internal::STOP)).ok());
  Serve();
  EXPECT_TRUE(Closed(bad));
  EXPECT_EQ(Reply(good), internal::STOP);
  close(bad);
  close(good);
}

TEST_F(ControlServerTest, RepliesWithAnErrorToAnInvalidRequest) {
  const int fd = Connect();
  ASSERT_TRUE(WriteSocketFrame(fd, "\xff\xff\xff").ok());
  Serve();
  const absl::StatusOr<std::optional<std::string>> frame = ReadSocketFrame(fd, 10000);
  internal::ShimReply reply;
  ASSERT_TRUE(frame.ok() && frame->has_value() && reply.ParseFromString(**frame));
  EXPECT_EQ(reply.protocol(), 0);
  EXPECT_FALSE(reply.error().empty());
  EXPECT_EQ(requests_, 0);
  close(fd);
}

TEST_F(ControlServerTest, DisconnectsAClientThatNeverReads) {
  const int fd = Connect();
  fcntl(fd, F_SETFL, O_NONBLOCK);
  std::string frames;
  const std::string payload = SignalBytes(internal::STOP);
  for (int i = 0; i < 2000; ++i) {
    frames += std::string{static_cast<char>(payload.size()), 0, 0, 0} + payload;
  }
  bool dropped = false;
  for (int i = 0; i < 2000 && !dropped; ++i) {
    dropped = send(fd, frames.data(), frames.size(), MSG_NOSIGNAL) < 0 && errno == EPIPE;
    Serve();
  }
  EXPECT_TRUE(dropped);
  close(fd);
  const int next = Connect();
  ASSERT_TRUE(WriteSocketFrame(next, SignalBytes(internal::PAUSE)).ok());
  Serve();
  EXPECT_EQ(Reply(next), internal::PAUSE);
  close(next);
}

TEST_F(ControlServerTest, RemovesItsSocketFile) {
  EXPECT_TRUE(std::filesystem::exists(dir_ + "/control.sock"));
  server_.reset();
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/control.sock"));
}

}  // namespace
}  // namespace trainerd::server
