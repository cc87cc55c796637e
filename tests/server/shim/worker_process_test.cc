// SPDX-License-Identifier: Apache-2.0
// The worker process with shell scripts as workers.
#include "server/shim/worker_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/contract/run_dir/attempt_files.h"
#include "proto/contract/run_dir/process_id.h"
#include "tests/server/shim/worker_script.h"
#include "tests/temp_dir.h"

namespace trainerd::server {
namespace {

using ::testing::HasSubstr;

class WorkerProcessTest : public ::testing::Test {
 protected:
  WorkerProcessTest() : run_lock_fd_(open(lock_path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
    EXPECT_EQ(flock(run_lock_fd_, LOCK_EX), 0);
  }
  ~WorkerProcessTest() override { CloseRunLock(); }

  void CloseRunLock() {
    if (run_lock_fd_ >= 0) close(run_lock_fd_);
    run_lock_fd_ = -1;
  }
  absl::StatusOr<WorkerProcess> SpawnProgram(const std::string& path) {
    return WorkerProcess::Spawn(
        {.worker_path = path, .attempt_dir = dir_.path(), .run_lock_fd = run_lock_fd_});
  }
  WorkerProcess Spawn(const std::string& body) {
    return SpawnProgram(WriteWorkerScript(dir_ / "worker", body)).value();
  }
  static WorkerProcess::End WaitForEnd(WorkerProcess& worker) {
    std::optional<WorkerProcess::End> end;
    EXPECT_TRUE(WaitFor([&] { return (end = worker.Reap()).has_value(); }));
    return end.value_or(WorkerProcess::End{});
  }
  // The log pipe up to its end.
  static std::string Log(const WorkerProcess& worker) {
    std::string log;
    char buffer[4096];
    EXPECT_TRUE(WaitFor([&] {
      const ssize_t n = read(worker.log_fd(), buffer, sizeof(buffer));
      if (n > 0) log.append(buffer, static_cast<size_t>(n));
      return n == 0;
    }));
    return log;
  }

  TempDir dir_;
  const std::string lock_path_ = dir_ / "run.lock";
  int run_lock_fd_;
};

TEST_F(WorkerProcessTest, ReportsASpawnErrorWithThePath) {
  const absl::Status status = SpawnProgram("/nonexistent/worker").status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nonexistent/worker"));
}

TEST_F(WorkerProcessTest, PassesTheAttemptAndCapturesBothOutputs) {
  WorkerProcess worker = Spawn("echo \"$@\"\necho to stderr >&2");
  EXPECT_EQ(Log(worker),
            absl::StrCat("attempt --attempt-dir ", dir_.path(), " --control-fd 3\nto stderr\n"));
  EXPECT_EQ(WaitForEnd(worker).exit_code, 0);
}

TEST_F(WorkerProcessTest, InheritsExactlyFiveDescriptors) {
  const int leak = dup2(STDERR_FILENO, 9);  // without O_CLOEXEC
  WorkerProcess worker =
      Spawn("for fd in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$fd ] && echo $fd; done; exit 0");
  EXPECT_EQ(Log(worker), "0\n1\n2\n3\n4\n");
  close(leak);
  WaitForEnd(worker);
}

TEST_F(WorkerProcessTest, KeepsTheRunDirectoryLockedWhileItLives) {
  WorkerProcess worker = Spawn("cat <&3");
  CloseRunLock();
  EXPECT_TRUE(IsLockHeld(lock_path_).value());
  worker.CloseCommands();
  WaitForEnd(worker);
  EXPECT_FALSE(IsLockHeld(lock_path_).value());
}

TEST_F(WorkerProcessTest, SendsFramesUntilTheSocketIsClosed) {
  const std::string received = dir_ / "received";
  WorkerProcess worker = Spawn("exec cat <&3 >" + received);
  ASSERT_TRUE(worker.Send(internal::CHECKPOINT).ok());
  ASSERT_TRUE(worker.Send(internal::STOP).ok());
  worker.CloseCommands();
  EXPECT_TRUE(absl::IsUnavailable(worker.Send(internal::DISCARD)));
  EXPECT_EQ(WaitForEnd(worker).exit_code, 0) << "the worker reads the end of the socket";
  std::string expected;
  for (internal::RequestedAction action : {internal::CHECKPOINT, internal::STOP}) {
    internal::WorkerCommand command;
    command.set_action(action);
    const std::string payload = command.SerializeAsString();
    expected += std::string{static_cast<char>(payload.size()), 0, 0, 0} + payload;
  }
  EXPECT_EQ(ReadFile(received).value(), expected);
}

TEST_F(WorkerProcessTest, ReportsACommandThatTheWorkerDoesNotRead) {
  WorkerProcess worker = Spawn("sleep 60");
  absl::Status sent;
  for (int i = 0; i < 1'000'000 && sent.ok(); ++i) sent = worker.Send(internal::CHECKPOINT);
  EXPECT_TRUE(absl::IsUnavailable(sent)) << "the socket is full: " << sent;
  worker.Kill(SIGKILL);
  WaitForEnd(worker);
  EXPECT_TRUE(absl::IsUnavailable(worker.Send(internal::STOP))) << "the worker has exited";
}

TEST_F(WorkerProcessTest, ReportsExitCodeAndUsageOnce) {
  WorkerProcess worker = Spawn("exit 7");
  EXPECT_GT(worker.id().pid(), 0);
  EXPECT_EQ(worker.id().boot_id(), BootId());
  const WorkerProcess::End end = WaitForEnd(worker);
  EXPECT_EQ(end.exit_code, 7);
  EXPECT_EQ(end.signal, 0);
  EXPECT_GT(end.memory_peak_bytes, 0);
  EXPECT_FALSE(worker.Reap().has_value());
}

TEST_F(WorkerProcessTest, ReportsTheSignalThatEndedIt) {
  WorkerProcess worker = Spawn("cat <&3");
  EXPECT_FALSE(worker.Reap().has_value()) << "it still runs";
  worker.Kill(SIGTERM);
  EXPECT_EQ(WaitForEnd(worker).signal, SIGTERM);
}

TEST_F(WorkerProcessTest, IsTheOomKillersFirstChoice) {
  WorkerProcess worker = Spawn("cat <&3");
  const std::string path = absl::StrCat("/proc/", worker.id().pid(), "/oom_score_adj");
  int own = 0, adjusted = 0;
  ASSERT_TRUE(absl::SimpleAtoi(ReadFile("/proc/self/oom_score_adj").value(), &own));
  ASSERT_TRUE(absl::SimpleAtoi(ReadFile(path).value(), &adjusted));
  EXPECT_GE(adjusted, std::max(own, 300));
  worker.Kill(SIGKILL);
  WaitForEnd(worker);
}

}  // namespace
}  // namespace trainerd::server
