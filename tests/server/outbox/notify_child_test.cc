// SPDX-License-Identifier: Apache-2.0
// The child trainerd-notify as a real process, and what becomes of the commands that it runs.
#include "server/outbox/notify_child.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "proto/base/atomic_file.h"
#include "proto/base/process/process.h"
#include "proto/base/time.h"
#include "tests/paths.h"
#include "tests/temp_dir.h"

namespace trainerd::server {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);

template <typename Condition>
bool Await(Condition condition) {
  const absl::Time deadline = SteadyNow() + kPatience;
  while (!condition()) {
    if (SteadyNow() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(5));
  }
  return true;
}

// Whether the process runs; a zombie does not.
bool Runs(pid_t pid) {
  const absl::StatusOr<std::string> stat = ReadFile("/proc/" + std::to_string(pid) + "/stat");
  return stat.ok() && stat->find(") Z ") == std::string::npos;
}

class NotifyChildTest : public ::testing::Test {
 protected:
  // A child whose command has a child in the background and waits for it.
  std::unique_ptr<NotifyChild> StartWithCommand() {
    auto child = NotifyChild::Start(std::string(TRAINERD_BIN_DIR) + "/trainerd-notify");
    EXPECT_TRUE(child.ok()) << child.status();
    internal::Delivery delivery;
    delivery.set_number(1);
    delivery.set_body("{}");
    for (const std::string& argument : {std::string("/bin/sh"), std::string("-c"),
                                        "sleep 600 & echo $! > " + (dir_ / "pid.part") + "; mv " +
                                            (dir_ / "pid.part") + " " + (dir_ / "pid") + "; wait"})
      delivery.add_command(argument);
    (*child)->Send(delivery);
    std::vector<internal::DeliveryResult> results;
    EXPECT_TRUE((*child)->Exchange(&results).ok());
    EXPECT_TRUE(Await([&] { return ReadPid() > 0; })) << "the command did not start";
    return *std::move(child);
  }
  pid_t ReadPid() const {
    int pid = 0;
    return absl::SimpleAtoi(ReadFile(dir_ / "pid").value_or(""), &pid) ? pid : 0;
  }

  TempDir dir_;
};

TEST_F(NotifyChildTest, EndsTheChildrenOfItsCommands) {
  std::unique_ptr<NotifyChild> child = StartWithCommand();
  const pid_t pid = ReadPid();
  ASSERT_TRUE(Runs(pid));
  child.reset();
  EXPECT_TRUE(Await([&] { return !Runs(pid); }));
}

// As when the daemon is killed: nobody sends anything to the child but the kernel.
TEST_F(NotifyChildTest, EndsThemWhenTheDaemonIsKilled) {
  const pid_t daemon = ::fork();
  if (daemon == 0) {
    const std::unique_ptr<NotifyChild> child = StartWithCommand();
    ::kill(::getpid(), SIGKILL);
  }
  int wait_status = 0;
  ASSERT_EQ(::waitpid(daemon, &wait_status, 0), daemon);
  ASSERT_TRUE(WIFSIGNALED(wait_status));
  const pid_t pid = ReadPid();
  ASSERT_GT(pid, 0);
  EXPECT_TRUE(Await([&] { return !Runs(pid); }));
}

}  // namespace
}  // namespace trainerd::server
