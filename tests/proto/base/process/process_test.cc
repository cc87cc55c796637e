// SPDX-License-Identifier: Apache-2.0
// The children are shell scripts that report what they inherited.
#include "proto/base/process/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/atomic_file.h"
#include "tests/temp_dir.h"

namespace trainerd {
namespace {

using ::testing::HasSubstr;

std::vector<std::string> Shell(const std::string& script) { return {"/bin/sh", "-c", script}; }

// Exit of a child that SpawnProcess started.
ProcessExit WaitFor(pid_t pid) {
  int wait_status = 0;
  EXPECT_EQ(waitpid(pid, &wait_status, 0), pid);
  return ProcessExit::FromWaitStatus(wait_status);
}

TEST(RunProcessTest, ReturnsExitCodeAndBothOutputs) {
  const ProcessResult result =
      RunProcess({.argv = Shell("echo out; echo err >&2; exit 3")}).value();
  EXPECT_EQ(result.exit.code, 3);
  EXPECT_EQ(result.exit.ToString(), "exit code 3");
  EXPECT_EQ(result.out, "out\n");
  EXPECT_EQ(result.err, "err\n");
}

TEST(RunProcessTest, ReturnsSignal) {
  const ProcessResult result = RunProcess({.argv = Shell("kill -9 $$")}).value();
  EXPECT_EQ(result.exit.signal, SIGKILL);
  EXPECT_EQ(result.exit.code, -1);
  EXPECT_EQ(result.exit.ToString(), "signal 9 (Killed)");
}

TEST(RunProcessTest, PassesInputAsMemoryFile) {
  const std::string input(3 << 20, 'i');
  const ProcessResult result =
      RunProcess({.argv = Shell(std::string("wc -c < ") + kChildInputPath), .input = input})
          .value();
  EXPECT_EQ(result.out, std::to_string(input.size()) + "\n");
}

TEST(RunProcessTest, PassesNoOtherDescriptor) {
  // Not close-on-exec.
  const Fd open_file(open("/dev/null", O_RDONLY));
  const ProcessResult result = RunProcess({.argv = Shell("ls /proc/self/fd | wc -l")}).value();
  EXPECT_EQ(result.out, "4\n");  // 0, 1, 2 and the directory that ls reads
}

TEST(RunProcessTest, ReadsBothPipesAtOnce) {
  // Each output exceeds the capacity of a pipe, and stderr comes first.
  const ProcessResult result =
      RunProcess({.argv = Shell("head -c 300000 /dev/zero >&2; head -c 200000 /dev/zero")}).value();
  EXPECT_EQ(result.err.size(), 300000u);
  EXPECT_EQ(result.out.size(), 200000u);
}

TEST(RunProcessTest, KillsWholeGroupAtDeadline) {
  const TempDir dir;
  const absl::Status status =
      RunProcess({.argv = Shell("sleep 600 & echo $! > " + dir / "pid" + "; wait"),
                  .timeout = absl::Milliseconds(300)})
          .status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  const pid_t grandchild = std::stoi(ReadFile(dir / "pid").value());
  // Its new parent may take a moment to reap it.
  const auto is_running = [&] {
    const absl::StatusOr<std::string> stat =
        ReadFile("/proc/" + std::to_string(grandchild) + "/stat");
    return stat.ok() && stat->find(") Z ") == std::string::npos;
  };
  for (int i = 0; i < 1000 && is_running(); ++i) absl::SleepFor(absl::Milliseconds(10));
  EXPECT_FALSE(is_running());
}

TEST(RunProcessTest, KillsChildThatClosedItsOutputAtDeadline) {
  const absl::Status status =
      RunProcess({.argv = Shell("exec sleep 600 >&- 2>&-"), .timeout = absl::Milliseconds(50)})
          .status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
}

TEST(RunProcessTest, LimitsOutput) {
  const absl::Status status =
      RunProcess({.argv = Shell("yes"), .max_output_bytes = 1 << 20}).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("1.0 MiB"));
}

TEST(RunProcessTest, ReportsMissingProgramAsNotFound) {
  const absl::Status status = RunProcess({.argv = {"/nonexistent/program"}}).status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nonexistent/program"));
}

TEST(RunProcessTest, ReportsFileThatIsNotExecutable) {
  const absl::Status status = RunProcess({.argv = {"/etc/passwd"}}).status();
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
}

// The child's descriptors 19 and 20 are 20 and 19 here: a dup2 in the wrong order would lose one.
TEST(SpawnProcessTest, GivesDescriptorsTheirNumbers) {
  Pipe one = Pipe::Open().value(), two = Pipe::Open().value();
  ASSERT_EQ(fcntl(19, F_GETFD), -1);
  ASSERT_EQ(fcntl(20, F_GETFD), -1);
  Fd nineteen(dup2(one.write_end.get(), 19)), twenty(dup2(two.write_end.get(), 20));
  std::vector<int> fds(21, -1);
  fds[19] = 20;
  fds[20] = 19;
  const pid_t pid =
      SpawnProcess(
          {.argv = Shell("echo 19 > /proc/self/fd/19; echo 20 > /proc/self/fd/20"), .fds = fds})
          .value();
  EXPECT_EQ(WaitFor(pid).code, 0);
  char from_one[8] = {}, from_two[8] = {};
  EXPECT_EQ(read(one.read_end.get(), from_one, sizeof(from_one)), 3);
  EXPECT_EQ(read(two.read_end.get(), from_two, sizeof(from_two)), 3);
  EXPECT_STREQ(from_one, "20\n");
  EXPECT_STREQ(from_two, "19\n");
}

TEST(SpawnProcessTest, StartsOwnSessionInWorkingDirectory) {
  const TempDir dir;
  Pipe out = Pipe::Open().value();
  const pid_t pid = SpawnProcess({.argv = Shell("pwd; cut -d' ' -f6 /proc/self/stat"),
                                  .fds = {-1, out.write_end.get(), -1},
                                  .group = ProcessGroup::kOwnSession,
                                  .working_directory = dir.path()})
                        .value();
  EXPECT_EQ(WaitFor(pid).code, 0);
  char buffer[4096] = {};
  ASSERT_GT(read(out.read_end.get(), buffer, sizeof(buffer) - 1), 0);
  EXPECT_EQ(std::string(buffer), dir.path() + "\n" + std::to_string(pid) + "\n");
}

TEST(RunProcessTest, KillsWholeGroupWhenCancelled) {
  const TempDir dir;
  std::atomic<bool> cancelled{false};
  std::thread canceller([&] {
    while (!std::filesystem::exists(dir / "pid")) absl::SleepFor(absl::Milliseconds(1));
    cancelled = true;
  });
  const absl::Status status =
      RunProcess({.argv = Shell("sleep 600 & echo $! > " + (dir / "p") + "; mv " + (dir / "p") +
                                " " + (dir / "pid") + "; wait"),
                  .is_cancelled = [&] { return cancelled.load(); }})
          .status();
  canceller.join();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  std::ifstream file(dir / "pid");
  pid_t pid = 0;
  file >> pid;
  ASSERT_GT(pid, 0);
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  while (kill(pid, 0) == 0 && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_NE(kill(pid, 0), 0) << "the grandchild is killed too";
}

// kill -9 ends all threads; the end of the calling one is what the kernel acts on.
TEST(SpawnProcessTest, KillsChildThatEndsWithCaller) {
  for (const bool ends_with_caller : {true, false}) {
    pid_t pid = 0;
    std::thread caller([&] {
      pid = SpawnProcess({.argv = {"/bin/sleep", "600"}, .ends_with_caller = ends_with_caller})
                .value();
    });
    caller.join();
    if (!ends_with_caller) {
      int status = 0;
      EXPECT_EQ(waitpid(pid, &status, WNOHANG), 0) << "it still runs";
      kill(pid, SIGKILL);
    }
    EXPECT_EQ(WaitFor(pid).signal, SIGKILL);
  }
}

TEST(SpawnProcessTest, ResetsBlockedAndIgnoredSignals) {
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &blocked, &before), 0);
  const auto ignored = signal(SIGTERM, SIG_IGN);
  const absl::StatusOr<ProcessResult> result =
      RunProcess({.argv = Shell("kill -TERM $$; echo no")});
  signal(SIGTERM, ignored);
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
  EXPECT_EQ(result.value().exit.signal, SIGTERM);
}

TEST(FdTest, ClosesOnceAndMovesOwnership) {
  int raw = -1;
  {
    Fd fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    raw = fd.get();
    Fd moved = std::move(fd);
    EXPECT_FALSE(fd.is_open());
    EXPECT_EQ(moved.get(), raw);
    fd = std::move(moved);
    EXPECT_EQ(fcntl(raw, F_GETFD), FD_CLOEXEC);
  }
  EXPECT_EQ(fcntl(raw, F_GETFD), -1);
  EXPECT_EQ(errno, EBADF);
}

}  // namespace
}  // namespace trainerd
