// SPDX-License-Identifier: Apache-2.0
// Quiet calls behind a proxy that drops idle connections, as a NAT does. All times are scaled down:
// the daemon's 30 s to 0.2 s, the NAT's 60 s to 0.8 s, an hour to 4 s. For the pings of clients,
// the daemon's 10 s are 1 s: gRPC's client sends no two pings within a second.
#include "tests/server/api/api_fixture.h"
#include "tests/server/api/proxy.h"

namespace trainerd::server {
namespace {

class KeepaliveTest : public ApiTest {
 protected:
  void Start(absl::Duration send_every, absl::Duration drop_idle) {
    keepalive_.send_every = send_every;
    keepalive_.accept_every = accept_every_;
    ASSERT_OK(StartServer("s"));
    proxy_ = std::make_unique<Proxy>(
        Proxy::Options{.upstream = dir_ / "s/trainerd.sock", .drop_idle = drop_idle});
    Connect("s");
    ASSERT_TRUE(Submit("a").ok());
  }
  // A WaitJob that ends at its timeout.
  grpc::Status Wait(const std::shared_ptr<grpc::Channel>& channel, absl::Duration timeout) {
    auto trainer = v1::Trainer::NewStub(channel);
    v1::WaitJobRequest request;
    request.set_name("jobs/a");
    *request.mutable_timeout() = ToProto(timeout);
    grpc::ClientContext context;
    v1::Job job;
    const grpc::Status status = trainer->WaitJob(&context, request, &job);
    EXPECT_TRUE(!status.ok() || job.state() == v1::Job::QUEUED) << job.state();
    return status;
  }
  static grpc::ChannelArguments PingEverySecond() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 1'000);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    return arguments;
  }
  absl::Duration accept_every_ = absl::Milliseconds(900);
  std::unique_ptr<Proxy> proxy_;
};

TEST_F(KeepaliveTest, QuietWaitJobOutlivesProxyThatDropsIdleConnections) {
  Start(/*send_every=*/absl::Milliseconds(200), /*drop_idle=*/absl::Milliseconds(800));
  const grpc::Status status = Wait(NewChannel(proxy_->address()), absl::Seconds(4));
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(proxy_->dropped(), 0);
}

// The proxy is one that the test above needs.
TEST_F(KeepaliveTest, WithoutPingsTheProxyDropsTheCall) {
  Start(/*send_every=*/absl::Hours(1), /*drop_idle=*/absl::Milliseconds(800));
  EXPECT_EQ(Wait(NewChannel(proxy_->address()), absl::Seconds(4)).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(proxy_->dropped(), 1);
}

TEST_F(KeepaliveTest, AcceptsPingsOfClientsWithAndWithoutCalls) {
  Start(/*send_every=*/absl::Hours(1), /*drop_idle=*/absl::Seconds(3));
  const auto channel = NewChannel(proxy_->address(), PingEverySecond());
  const grpc::Status waited = Wait(channel, absl::Seconds(5));
  EXPECT_TRUE(waited.ok()) << waited.error_message();
  // Then the connection has no call for a while.
  absl::SleepFor(absl::Seconds(5));
  EXPECT_EQ(channel->GetState(/*try_to_connect=*/false), GRPC_CHANNEL_READY);
  EXPECT_TRUE(Wait(channel, absl::ZeroDuration()).ok());
  EXPECT_EQ(proxy_->dropped(), 0);
}

// gRPC's default is 5 min.
TEST_F(KeepaliveTest, ClosesConnectionThatPingsTooOften) {
  accept_every_ = absl::Minutes(5);
  Start(/*send_every=*/absl::Hours(1), /*drop_idle=*/absl::Seconds(3));
  const auto channel = NewChannel(proxy_->address(), PingEverySecond());
  EXPECT_EQ(Wait(channel, absl::Seconds(8)).error_code(), grpc::StatusCode::UNAVAILABLE);
}

// What operators and clients rely on.
TEST_F(KeepaliveTest, DefaultsAreThoseOfTheProto) {
  EXPECT_EQ(Keepalive().send_every, absl::Seconds(30));
  EXPECT_LE(Keepalive().accept_every, absl::Seconds(10));
}

}  // namespace
}  // namespace trainerd::server
