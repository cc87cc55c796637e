// SPDX-License-Identifier: Apache-2.0
// Plain sockets against the daemon's limits.
#include "server/api/acceptor.h"

#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/server/api/api_fixture.h"

namespace trainerd::server {
namespace {

TEST(ConnectionLimitsTest, KeepDescriptorsForTheRest) {
  for (int64_t descriptors : {64, 256, 1024, 4096, 1 << 20}) {
    const ConnectionLimits limits = LimitsOf(descriptors);
    EXPECT_LE(limits.total, descriptors - std::min<int64_t>(descriptors / 2, 512)) << descriptors;
    EXPECT_LT(limits.tcp, limits.total) << "a unix socket stays reachable";
    EXPECT_LT(limits.per_process, limits.total) << "for another process";
    EXPECT_GE(limits.per_process, 1) << descriptors;
  }
  EXPECT_GE(LimitsOf(4096).per_process, 1500);
}

class AcceptorTest : public ApiTest {
 protected:
  AcceptorTest() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit low = before_;
    low.rlim_cur = kDescriptors;
    ::setrlimit(RLIMIT_NOFILE, &low);
  }
  ~AcceptorTest() override { ::setrlimit(RLIMIT_NOFILE, &before_); }
  // The daemon has read the low limit; the clients of this process need more.
  void AllowClients() { ::setrlimit(RLIMIT_NOFILE, &before_); }

  static constexpr rlim_t kDescriptors = 128;

  // A connected socket that sends nothing.
  Fd Open(const std::string& path) {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    path.copy(name.sun_path, sizeof(name.sun_path) - 1);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
    return fd;
  }
  // Whether the daemon has closed the connection. A kept one gets the settings of HTTP/2.
  static bool IsRefused(const Fd& fd) {
    pollfd ready{fd.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&ready, 1, 20'000), 1);
    char byte = 0;
    return ::recv(fd.get(), &byte, 1, MSG_PEEK) <= 0;
  }
  rlimit before_;
};

TEST_F(AcceptorTest, OneProcessCannotTakeAllConnections) {
  ASSERT_OK(StartServer("s", {"unix", "127.0.0.1:0"}));
  AllowClients();
  Connect("s");
  ASSERT_TRUE(Submit("a").ok());
  const ConnectionLimits limits = LimitsOf(kDescriptors);
  std::vector<Fd> sockets;
  int refused = 0;
  for (int n = 0; n < limits.total; ++n) {
    sockets.push_back(Open(dir_ / "s/trainerd.sock"));
    refused += IsRefused(sockets.back());
  }
  // One connection is that of the client.
  EXPECT_EQ(refused, limits.total - limits.per_process + 1);
  EXPECT_TRUE(Submit("b").ok()) << "a known client";
  // Another origin still has room: here, TCP.
  const auto channel = NewChannel(server_->addresses()[1]);
  EXPECT_TRUE(
      channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(20)));
  // Connections that ended make room.
  sockets.clear();
  bool has_room = false;
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  while (!has_room && absl::Now() < deadline) {
    has_room = !IsRefused(Open(dir_ / "s/trainerd.sock"));
    absl::SleepFor(absl::Milliseconds(20));
  }
  EXPECT_TRUE(has_room);
}

}  // namespace
}  // namespace trainerd::server
