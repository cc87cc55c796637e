// SPDX-License-Identifier: Apache-2.0
// Real children. A zombie still takes signal 0; a reaped process does not.
#include "server/runs/shim_reaper.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include "absl/time/clock.h"
#include "proto/base/process/process.h"

namespace trainerd::server {
namespace {

pid_t Spawn(const std::string& script) {
  const absl::StatusOr<pid_t> pid = SpawnProcess({.argv = {"/bin/sh", "-c", script}});
  EXPECT_TRUE(pid.ok()) << pid.status();
  return pid.value_or(0);
}

bool Exists(pid_t pid) { return kill(pid, 0) == 0 || errno != ESRCH; }

bool WaitUntilGone(pid_t pid) {
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (Exists(pid)) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return true;
}

TEST(ShimReaperTest, ReapsWithoutBeingAsked) {
  ShimReaper reaper;
  const pid_t sleeps = Spawn("exec sleep 100"), exits = Spawn("exit 3");
  reaper.Add("a", sleeps);
  reaper.Add("b", exits);
  EXPECT_TRUE(WaitUntilGone(exits));
  EXPECT_TRUE(Exists(sleeps));
  EXPECT_FALSE(reaper.Find("a").exited);
  ASSERT_TRUE(reaper.Find("b").exited);
  EXPECT_EQ(WEXITSTATUS(reaper.Find("b").wait_status), 3);
  EXPECT_EQ(reaper.Find("b").pid, exits);
  EXPECT_EQ(reaper.Find("c").pid, 0);
  kill(sleeps, SIGKILL);
  EXPECT_TRUE(WaitUntilGone(sleeps));
}

TEST(ShimReaperTest, ReapsAForgottenOneAndDropsIt) {
  ShimReaper reaper;
  const pid_t pid = Spawn("exec sleep 100");
  reaper.Add("a", pid);
  reaper.Forget("a");
  EXPECT_EQ(reaper.Find("a").pid, pid) << "it still runs";
  kill(pid, SIGKILL);
  EXPECT_TRUE(WaitUntilGone(pid));
  EXPECT_EQ(reaper.Find("a").pid, 0);
}

TEST(ShimReaperTest, LeavesOtherChildrenAlone) {
  ShimReaper reaper;
  const pid_t other = Spawn("exit 7"), own = Spawn("exit 0");
  reaper.Add("a", own);
  EXPECT_TRUE(WaitUntilGone(own));
  int status = 0;
  EXPECT_EQ(waitpid(other, &status, 0), other);
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

}  // namespace
}  // namespace trainerd::server
