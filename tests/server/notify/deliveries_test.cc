// SPDX-License-Identifier: Apache-2.0
#include "server/notify/deliveries.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <set>
#include <thread>

#include "absl/synchronization/notification.h"
#include "proto/base/fd.h"
#include "proto/contract/run_dir/framing.h"
#include "tests/temp_dir.h"

namespace trainerd::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class RunDeliveriesTest : public ::testing::Test {
 protected:
  RunDeliveriesTest() {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    daemon_.Reset(fds[0]);
    child_.Reset(fds[1]);
  }
  void Send(int64_t number) {
    internal::Delivery delivery;
    delivery.set_number(number);
    ASSERT_TRUE(WriteSocketFrame(daemon_.get(), delivery.SerializeAsString()).ok());
  }
  internal::DeliveryResult Receive() {
    internal::DeliveryResult result;
    const auto frame = ReadSocketFrame(daemon_.get(), /*timeout_ms=*/30'000);
    EXPECT_TRUE(frame.ok() && frame->has_value());
    if (!frame.ok() || !frame->has_value()) return result;
    EXPECT_TRUE(result.ParseFromString(**frame));
    return result;
  }
  Fd daemon_, child_;
};

TEST_F(RunDeliveriesTest, ASlowDeliveryDelaysNoOther) {
  absl::Notification release;
  int code = -1;
  std::thread loop([&] {
    code = RunDeliveries(child_.get(), [&](const internal::Delivery& delivery) {
      if (delivery.number() == 1) release.WaitForNotification();
      return delivery.number() == 2 ? std::string("HTTP 500") : "";
    });
  });
  for (const int64_t number : {1, 2, 3}) Send(number);
  std::set<std::string> results;
  for (int i = 0; i < 2; ++i) {
    const internal::DeliveryResult result = Receive();
    results.insert(std::to_string(result.number()) + " " + result.error());
  }
  EXPECT_EQ(results, (std::set<std::string>{"2 HTTP 500", "3 "}));
  release.Notify();
  EXPECT_EQ(Receive().number(), 1);
  ::shutdown(daemon_.get(), SHUT_WR);
  loop.join();
  EXPECT_EQ(code, 0);
}

TEST_F(RunDeliveriesTest, EndsAtNonsense) {
  ASSERT_TRUE(WriteSocketFrame(daemon_.get(), "\xff\xff\xff").ok());
  EXPECT_EQ(RunDeliveries(child_.get(), [](const internal::Delivery&) { return ""; }), 1);
}

TEST(DeliverTest, ReadsTheSecretForEachDelivery) {
  TempDir dir;
  internal::Delivery delivery;
  delivery.set_url("http://127.0.0.1:1/");
  delivery.set_secret_file(dir.Write("secret", "s3cret"));
  EXPECT_THAT(Deliver(delivery), HasSubstr("whsec_BASE64"));
  EXPECT_THAT(Deliver(delivery), Not(HasSubstr("s3cret")));
  dir.Write("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 0644);
  EXPECT_THAT(Deliver(delivery), HasSubstr("chmod 600"));
  // Nothing listens on port 1, and the error does not name the address.
  dir.Write("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 0600);
  EXPECT_THAT(Deliver(delivery), HasSubstr("connect"));
  EXPECT_THAT(Deliver(delivery), Not(HasSubstr("127.0.0.1")));
  delivery.set_url("file:///etc/hostname");
  EXPECT_THAT(Deliver(delivery), HasSubstr("protocol"));
}

}  // namespace
}  // namespace trainerd::server
