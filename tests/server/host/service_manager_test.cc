// SPDX-License-Identifier: Apache-2.0
// Messages to a service manager, which is a socket of the test.
#include "server/host/service_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

#include "absl/time/clock.h"
#include "proto/base/fd.h"
#include "proto/base/time.h"
#include "tests/temp_dir.h"

namespace trainerd::server {
namespace {

// NAME with @ is in the abstract namespace.
class Receiver {
 public:
  explicit Receiver(const std::string& name) : fd_(::socket(AF_UNIX, SOCK_DGRAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    const bool abstract = name[0] == '@';
    if (abstract) address.sun_path[0] = '\0';
    const size_t size = offsetof(sockaddr_un, sun_path) + name.size() + (abstract ? 0 : 1);
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  }
  // The next message; waits for it.
  std::string Next() {
    char text[4096];
    const ssize_t size = ::recv(fd_.get(), text, sizeof text, 0);
    return size < 0 ? "" : std::string(text, size);
  }
  // All that are there.
  std::vector<std::string> All() {
    std::vector<std::string> all;
    char text[4096];
    while (true) {
      const ssize_t size = ::recv(fd_.get(), text, sizeof text, MSG_DONTWAIT);
      if (size < 0) return all;
      all.emplace_back(text, size);
    }
  }

 private:
  Fd fd_;
};

TEST(ServiceManagerTest, ReadsTheTimeOfItsOwnWatchdogOnly) {
  EXPECT_EQ(WatchdogTime("30000000", "", 7), absl::Seconds(30));
  EXPECT_EQ(WatchdogTime("30000000", "7", 7), absl::Seconds(30));
  for (const auto& [usec, pid] : std::vector<std::pair<std::string, std::string>>{
           {"", ""}, {"0", ""}, {"-1", ""}, {"x", ""}, {"1x", "7"}, {"30000000", "8"}, {"5", "x"}})
    EXPECT_EQ(WatchdogTime(usec, pid, 7), absl::ZeroDuration()) << usec << " " << pid;
}

TEST(ServiceManagerTest, SendsToPathsAndAbstractNames) {
  const TempDir dir;
  for (const std::string& name : {dir / "notify", "@trainerd-test-" + std::to_string(::getpid()),
                                  "@" + std::string(90, 'a') + std::to_string(::getpid())}) {
    Receiver receiver(name);
    ASSERT_TRUE(SendToServiceManager(name, "READY=1").ok()) << name;
    EXPECT_EQ(receiver.Next(), "READY=1");
  }
}

TEST(ServiceManagerTest, RefusesOtherNames) {
  const TempDir dir;
  EXPECT_FALSE(SendToServiceManager(dir / "nobody", "READY=1").ok());
  for (const std::string& name : {std::string("relative"), std::string(""),
                                  std::string("vsock:2:9"), "/" + std::string(200, 'x')})
    EXPECT_TRUE(absl::IsInvalidArgument(SendToServiceManager(name, "READY=1"))) << name;
}

TEST(ServiceManagerTest, PingsAfterHalfOfTheTimeIfThereWasARound) {
  const absl::Time begin = absl::FromUnixSeconds(1'800'000'000);
  WatchdogPings pings(absl::Seconds(10), begin, /*rounds=*/3);
  EXPECT_FALSE(pings.IsDue(begin + absl::Seconds(4), 9)) << "too early";
  EXPECT_TRUE(pings.IsDue(begin + absl::Seconds(5), 9));
  EXPECT_FALSE(pings.IsDue(begin + absl::Seconds(9), 10));
  EXPECT_FALSE(pings.IsDue(begin + absl::Seconds(10), 9)) << "the loop is stuck";
  EXPECT_FALSE(pings.IsDue(begin + absl::Seconds(60), 9));
  EXPECT_TRUE(pings.IsDue(begin + absl::Seconds(61), 10)) << "at once when it continues";
  EXPECT_FALSE(pings.IsDue(begin + absl::Seconds(62), 11));
  pings.Repeat();
  EXPECT_TRUE(pings.IsDue(begin + absl::Seconds(62), 11)) << "the last one was not sent";
}

class ServiceManagerThreadTest : public ::testing::Test {
 protected:
  ServiceManager::Options Options(absl::Duration watchdog) {
    return {.socket = dir_ / "notify",
            .watchdog = watchdog,
            .rounds = [this] { return rounds_.load(); },
            .poke =
                [this] {
                  ++pokes_;
                  if (!stuck_) ++rounds_;
                },
            .status = [this] { return "2 active\nattempts " + std::to_string(status_.load()); },
            .status_every = absl::Milliseconds(1)};
  }
  int Pings() {
    int pings = 0;
    for (const std::string& message : receiver_.All()) pings += message == "WATCHDOG=1";
    return pings;
  }

  TempDir dir_;
  Receiver receiver_{dir_ / "notify"};
  std::atomic<int64_t> rounds_{0};
  std::atomic<int> pokes_{0}, status_{0};
  std::atomic<bool> stuck_{false};
};

TEST_F(ServiceManagerThreadTest, ReportsReadyStatusAndTheEnd) {
  ServiceManager manager(Options(absl::ZeroDuration()));
  manager.Ready();
  EXPECT_EQ(receiver_.Next(), "READY=1");
  EXPECT_EQ(receiver_.Next(), "STATUS=2 active attempts 0");
  status_ = 1;
  EXPECT_EQ(receiver_.Next(), "STATUS=2 active attempts 1");
  manager.Stopping();
  EXPECT_THAT(receiver_.Next(), ::testing::StartsWith("STOPPING=1\nSTATUS="));
  EXPECT_THAT(receiver_.All(), ::testing::IsEmpty()) << "an unchanged status is sent once";
  EXPECT_EQ(pokes_, 0) << "without a watchdog";
}

TEST_F(ServiceManagerThreadTest, AStuckLoopStopsThePings) {
  ServiceManager manager(Options(absl::Milliseconds(80)));
  manager.Ready();
  for (int pings = 0; pings < 3;) pings += receiver_.Next() == "WATCHDOG=1";
  stuck_ = true;
  const auto wait_for_pokes = [&](int more) {
    const int until = pokes_ + more;
    while (pokes_ < until) absl::SleepFor(absl::Milliseconds(1));
  };
  wait_for_pokes(2);
  Pings();  // of the rounds before
  wait_for_pokes(40);
  EXPECT_LE(Pings(), 1) << "at most for the last round";
  wait_for_pokes(40);
  EXPECT_EQ(Pings(), 0);
  stuck_ = false;
  while (receiver_.Next() != "WATCHDOG=1") {
  }
}

TEST_F(ServiceManagerThreadTest, NothingIsSentWithoutASocketAndNothingStopsAtADeadOne) {
  ServiceManager::Options options = Options(absl::Milliseconds(80));
  options.socket = "";
  ServiceManager none(std::move(options));
  none.Ready();
  none.Stopping();
  EXPECT_THAT(receiver_.All(), ::testing::IsEmpty());
  options = Options(absl::Milliseconds(80));
  options.socket = dir_ / "nobody";
  ServiceManager dead(std::move(options));
  dead.Ready();
  while (pokes_ < 5) absl::SleepFor(absl::Milliseconds(1));
  dead.Stopping();
}

}  // namespace
}  // namespace trainerd::server
