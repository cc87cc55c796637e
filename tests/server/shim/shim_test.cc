// SPDX-License-Identifier: Apache-2.0
// RunShim in a child process, with shell scripts as workers: what it records, and what it answers
// meanwhile. Expectations: README.md of server/shim.
#include "server/shim/shim.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/directory.h"
#include "proto/contract/run_dir/attempt_files.h"
#include "proto/contract/run_dir/framing.h"
#include "proto/contract/run_dir/process_id.h"
#include "tests/server/shim/worker_script.h"
#include "tests/temp_dir.h"

namespace trainerd::server {
namespace {

using ::testing::HasSubstr;

class ShimTest : public ::testing::Test {
 protected:
  ShimTest() {
    EXPECT_TRUE(MakeDirectories(attempt_dir_ + "/logs").ok());
    EXPECT_TRUE(WritePublisher(run_dir_, 1).ok());
  }
  ~ShimTest() override {
    if (shim_ <= 0) return;
    kill(shim_, SIGKILL);
    waitpid(shim_, nullptr, 0);
  }

  // Starts a shim whose worker is this script.
  void Start(const std::string& body) { StartWorker(WriteWorkerScript(dir_ / "worker", body)); }
  void StartWorker(const std::string& path) {
    internal::AttemptSpec spec;
    spec.set_job("jobs/a");
    spec.set_attempt(1);
    spec.set_run_dir(run_dir_);
    spec.set_worker_path(path);
    ASSERT_TRUE(WriteFileAtomic(attempt_dir_ + "/spec.pb", spec.SerializeAsString()).ok());
    shim_ = fork();
    if (shim_ == 0) {
      (void)std::freopen("/dev/null", "w", stderr);
      _exit(RunShim(attempt_dir_));
    }
  }
  // The shim's exit code.
  int Wait() {
    int status = -1;
    EXPECT_TRUE(WaitFor([&] { return waitpid(shim_, &status, WNOHANG) == shim_; }));
    shim_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  internal::ExitRecord Record() const {
    return ReadExitRecord(attempt_dir_).value().value_or(internal::ExitRecord{});
  }
  bool WaitForFile(const std::string& path) const {
    return WaitFor([&] { return access(path.c_str(), F_OK) == 0; });
  }
  // The shim's reply to one request on a new connection; nullopt when nobody listens.
  std::optional<internal::ShimReply> Call(const internal::ShimRequest& request) const {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof(address.sun_path), "%s/control.sock",
                  attempt_dir_.c_str());
    std::optional<internal::ShimReply> reply;
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
        WriteSocketFrame(fd, request.SerializeAsString()).ok()) {
      const absl::StatusOr<std::optional<std::string>> frame = ReadSocketFrame(fd, 10000);
      if (frame.ok() && frame->has_value()) {
        EXPECT_TRUE(reply.emplace().ParseFromString(**frame));
      }
    }
    close(fd);
    return reply;
  }
  internal::ShimReply Signal(int action, double deadline_seconds) const {
    internal::ShimRequest request;
    request.mutable_signal()->set_action(static_cast<internal::RequestedAction>(action));
    request.mutable_signal()->set_deadline_seconds(deadline_seconds);
    return Call(request).value_or(internal::ShimReply{});
  }

  TempDir dir_;
  const std::string run_dir_ = dir_ / "run";
  const std::string attempt_dir_ = AttemptDir(run_dir_, 1);
  const std::string up_ = dir_ / "up";
  const std::string go_ = dir_ / "go";
  pid_t shim_ = 0;
};

TEST_F(ShimTest, RecordsExitCodeLogAndUsage) {
  Start("echo hello; exit 7");
  EXPECT_EQ(Wait(), kShimDone);
  const internal::ExitRecord record = Record();
  EXPECT_EQ(record.exit_code(), 7);
  EXPECT_EQ(record.signal(), 0);
  EXPECT_EQ(record.spawn_error(), "");
  EXPECT_EQ(record.log_excerpt(), "hello\n");
  EXPECT_EQ(record.log_bytes_lost(), 0);
  EXPECT_GT(record.memory_peak_bytes(), 0);
  EXPECT_GT(record.end_time().seconds(), 0);
  EXPECT_FALSE(record.killed_by_escalation());
  EXPECT_FALSE(record.likely_out_of_memory());
  EXPECT_EQ(record.worker().pid(), ReadShimInfo(attempt_dir_).value()->worker().pid());
  EXPECT_EQ(ReadFile(attempt_dir_ + "/logs/worker.00000000000000000000.log").value(), "hello\n");
  EXPECT_NE(access((attempt_dir_ + "/control.sock").c_str(), F_OK), 0);
}

TEST_F(ShimTest, RecordsASignalThatItDidNotSend) {
  Start("kill -SEGV $$");
  EXPECT_EQ(Wait(), kShimDone);
  EXPECT_EQ(Record().signal(), SIGSEGV);
  EXPECT_FALSE(Record().killed_by_escalation());
}

TEST_F(ShimTest, RecordsASpawnError) {
  StartWorker("/nonexistent/worker");
  EXPECT_EQ(Wait(), kShimFailed);
  EXPECT_THAT(Record().spawn_error(), HasSubstr("/nonexistent/worker"));
}

TEST_F(ShimTest, RecordsWhyItRefusesAndStartsNoWorker) {
  ASSERT_TRUE(WritePublisher(run_dir_, 2).ok());
  Start("touch " + up_);
  EXPECT_EQ(Wait(), kShimFailed);
  EXPECT_THAT(Record().spawn_error(), HasSubstr("publisher is attempt 2"));
  EXPECT_NE(access(up_.c_str(), F_OK), 0);
}

TEST_F(ShimTest, LeavesTheRecordsOfAnAttemptThatWasStartedBefore) {
  internal::ExitRecord before;
  before.set_exit_code(3);
  ASSERT_TRUE(WriteExitRecord(attempt_dir_, before).ok());
  Start("touch " + up_);
  EXPECT_EQ(Wait(), kShimNotOurs);
  EXPECT_EQ(Record().exit_code(), 3);
  EXPECT_NE(access(up_.c_str(), F_OK), 0);
  EXPECT_NE(access((attempt_dir_ + "/shim.json").c_str(), F_OK), 0);
}

TEST_F(ShimTest, TerminatesTheWorkerAtTheDeadline) {
  Start("touch " + up_ + "; cat <&3 >/dev/null & wait");
  ASSERT_TRUE(WaitForFile(up_));
  EXPECT_EQ(Signal(internal::STOP, 0.05).action(), internal::STOP);
  EXPECT_EQ(Wait(), kShimDone);
  EXPECT_EQ(Record().signal(), SIGTERM);
  EXPECT_TRUE(Record().killed_by_escalation());
}

TEST_F(ShimTest, KillsAWorkerThatIgnoresSigterm) {
  Start("trap '' TERM; touch " + up_ + "; while :; do sleep 0.02; done");
  ASSERT_TRUE(WaitForFile(up_));
  Signal(internal::STOP, 0.05);
  EXPECT_EQ(Wait(), kShimDone);
  EXPECT_EQ(Record().signal(), SIGKILL);
  EXPECT_TRUE(Record().killed_by_escalation());
  EXPECT_FALSE(Record().likely_out_of_memory());
}

TEST_F(ShimTest, KillsAtOnceOnRequest) {
  Start("touch " + up_ + "; sleep 60");
  ASSERT_TRUE(WaitForFile(up_));
  EXPECT_EQ(Signal(internal::KILL, 0).action(), internal::KILL);
  EXPECT_EQ(Wait(), kShimDone);
  EXPECT_EQ(Record().signal(), SIGKILL);
  EXPECT_TRUE(Record().killed_by_escalation());
}

TEST_F(ShimTest, EndsTheControlSocketOnSigterm) {
  Start("touch " + up_ + "; cat <&3 >/dev/null; echo end of commands");
  ASSERT_TRUE(WaitForFile(up_));
  kill(shim_, SIGTERM);
  EXPECT_EQ(Wait(), kShimDone);
  EXPECT_EQ(Record().exit_code(), 0);
  EXPECT_EQ(Record().log_excerpt(), "end of commands\n");
}

TEST_F(ShimTest, RejectsAnActionThatItDoesNotKnow) {
  Start("touch " + up_ + "; cat <&3 >/dev/null");
  ASSERT_TRUE(WaitForFile(up_));
  EXPECT_THAT(Signal(99, 0).error(), HasSubstr("99"));
  EXPECT_THAT(Signal(internal::REQUESTED_ACTION_UNSPECIFIED, 0).error(), HasSubstr("0"));
  EXPECT_THAT(Call(internal::ShimRequest{}).value().error(), HasSubstr("request"));
  EXPECT_EQ(Signal(internal::PAUSE, 0).error(), "");
}

// A folder of that name stands for a disk that takes no record.
TEST_F(ShimTest, AnswersUntilItsRecordCanBeWritten) {
  Start("touch " + up_ + "; while [ ! -e " + go_ + " ]; do sleep 0.02; done; exit 5");
  ASSERT_TRUE(WaitForFile(up_));
  internal::ShimRequest state;
  state.mutable_state();
  const internal::ProcessId worker = Call(state).value().info().worker();
  const std::string record = attempt_dir_ + "/exit.rec";
  ASSERT_EQ(mkdir(record.c_str(), 0700), 0);
  ASSERT_TRUE(WriteFileAtomic(go_, "").ok());
  ASSERT_TRUE(WaitFor([&] { return !IsAlive(worker); }));
  for (int i = 0; i < 3; ++i) {
    const std::optional<internal::ShimReply> reply = Call(state);
    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->info().worker().pid(), worker.pid());
  }
  ASSERT_EQ(rmdir(record.c_str()), 0);
  EXPECT_EQ(Wait(), kShimDone);
  EXPECT_EQ(Record().exit_code(), 5);
}

TEST_F(ShimTest, DoesNotWaitForAChildOfTheWorkerThatHoldsTheLog) {
  const std::string child_file = dir_ / "child";
  Start("sleep 60 & echo $! >" + child_file + "; echo last words; exit 0");
  EXPECT_EQ(Wait(), kShimDone);
  EXPECT_EQ(Record().log_excerpt(), "last words\n");
  int child = 0;
  ASSERT_TRUE(absl::SimpleAtoi(ReadFile(child_file).value(), &child));
  EXPECT_EQ(kill(child, SIGKILL), 0) << "it still ran";
}

}  // namespace
}  // namespace trainerd::server
