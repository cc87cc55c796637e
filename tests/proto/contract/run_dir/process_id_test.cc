// SPDX-License-Identifier: Apache-2.0
// Expectations: children of the test in known states, one with a name made to mislead a parser of
// /proc/PID/stat.
#include "proto/contract/run_dir/process_id.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace trainerd {
namespace {

// A child that waits for a signal; ended and reaped at the end.
class Child {
 public:
  explicit Child(const char* name) {
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      prctl(PR_SET_NAME, name);
      if (write(ready[1], "x", 1) != 1) _exit(1);
      while (true) pause();
    }
    char byte;
    EXPECT_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
  }
  ~Child() {
    if (reaped_) return;
    kill(pid_, SIGKILL);
    Reap();
  }
  int Reap() {
    int status = 0;
    waitpid(pid_, &status, 0);
    reaped_ = true;
    return status;
  }
  // Waits until it has ended, but leaves the zombie.
  void WaitUntilZombie() {
    siginfo_t info;
    ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT), 0);
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  bool reaped_ = false;
};

TEST(ProcessIdTest, IdentifiesThisProcess) {
  const auto id = IdentifyProcess(getpid());
  ASSERT_TRUE(id.ok()) << id.status();
  EXPECT_EQ(id->pid(), getpid());
  EXPECT_GT(id->start_ticks(), 0u);
  EXPECT_EQ(id->boot_id(), BootId());
  EXPECT_EQ(BootId().size(), 36u);
  EXPECT_TRUE(IsAlive(*id));
}

TEST(ProcessIdTest, ReadsStatOfNameWithParenthesesAndSpaces) {
  // As a stat line it reads "PID (a) Z 1 (b) 7) S …".
  Child child("a) Z 1 (b) 7");
  const auto id = IdentifyProcess(child.pid());
  ASSERT_TRUE(id.ok()) << id.status();
  EXPECT_TRUE(IsAlive(*id));
  const auto self = IdentifyProcess(getpid());
  // Started after this process, within what a test takes.
  EXPECT_GE(id->start_ticks(), self->start_ticks());
  EXPECT_LT(id->start_ticks(), self->start_ticks() + 100 * 3600 * 100);
}

TEST(ProcessIdTest, TreatsZombieAsDead) {
  Child child("zombie");
  const auto id = IdentifyProcess(child.pid());
  ASSERT_TRUE(id.ok());
  ASSERT_EQ(kill(child.pid(), SIGKILL), 0);
  child.WaitUntilZombie();
  EXPECT_FALSE(IsAlive(*id));
  EXPECT_TRUE(absl::IsNotFound(KillProcess(*id, 0)));
  EXPECT_TRUE(IdentifyProcess(child.pid()).ok());
  child.Reap();
  EXPECT_FALSE(IsAlive(*id));
  EXPECT_TRUE(absl::IsNotFound(IdentifyProcess(child.pid()).status()));
  EXPECT_TRUE(absl::IsNotFound(KillProcess(*id, SIGKILL)));
}

TEST(ProcessIdTest, NeverSignalsReusedPid) {
  Child child("victim");
  const auto id = IdentifyProcess(child.pid());
  ASSERT_TRUE(id.ok());
  internal::ProcessId earlier = *id;
  earlier.set_start_ticks(id->start_ticks() - 1);
  internal::ProcessId other_boot = *id;
  other_boot.set_boot_id("00000000-0000-0000-0000-000000000000");
  for (const internal::ProcessId& wrong : {earlier, other_boot}) {
    EXPECT_FALSE(IsAlive(wrong));
    EXPECT_TRUE(absl::IsNotFound(KillProcess(wrong, SIGKILL)));
  }
  EXPECT_TRUE(IsAlive(*id));
}

TEST(ProcessIdTest, SendsSignal) {
  Child child("target");
  const auto id = IdentifyProcess(child.pid());
  ASSERT_TRUE(id.ok());
  ASSERT_TRUE(KillProcess(*id, SIGTERM).ok());
  const int status = child.Reap();
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
}

TEST(ProcessIdTest, ReportsUnusedPidAsNotFound) {
  // kill(2) would take these as "every process" or "my group".
  for (const int pid : {0, -1, -7}) {
    internal::ProcessId id;
    id.set_pid(pid);
    id.set_boot_id(BootId());
    EXPECT_FALSE(IsAlive(id));
    EXPECT_TRUE(absl::IsNotFound(KillProcess(id, 0)));
    EXPECT_TRUE(absl::IsNotFound(IdentifyProcess(pid).status()));
  }
}

}  // namespace
}  // namespace trainerd
