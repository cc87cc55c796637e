// SPDX-License-Identifier: Apache-2.0
// The executor with the real trainerd-shim and the fake worker, in a temporary run directory.
// Expectations are the contract of executor.h and of internal/worker.proto. Every wait is for a
// condition with a generous deadline; nothing is timed.
#include "server/runs/local_executor.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/process/process.h"
#include "proto/contract/config/json_output.h"
#include "proto/contract/run_dir/process_id.h"
#include "server/ledger/disk/checkpoint_scan.h"
#include "server/runs/log_reader.h"
#include "tests/server/runs/local_executor_fixture.h"
#include "tests/temp_dir.h"

namespace trainerd::server {
namespace {

using Kind = Observation::Kind;
using ::testing::HasSubstr;

TEST_F(LocalExecutorTest, RunsAnAttemptToItsEndAndRecordsIt) {
  ASSERT_TRUE(executor_.Launch(Spec(1, {{"fake.steps", "50"}, {"fake.step_ms", "1"}})).ok());
  const Observation end = WaitForKind(1, Kind::kExited);
  ASSERT_TRUE(end.exit.has_value());
  EXPECT_EQ(end.exit->exit_code(), 0);
  EXPECT_EQ(end.exit->signal(), 0);
  EXPECT_FALSE(end.exit->killed_by_escalation());
  EXPECT_GT(end.exit->memory_peak_bytes(), 0);
  EXPECT_THAT(end.exit->log_excerpt(), HasSubstr("fake worker: attempt 1"));
  ASSERT_TRUE(end.worker_exit.has_value());
  EXPECT_EQ(end.worker_exit->end(), v1::Attempt::COMPLETED);
  EXPECT_EQ(end.worker_exit->last_step(), 50);
  EXPECT_EQ(LastStep(1), 50);
  EXPECT_EQ(ReadFile(run_dir_ + "/publisher").value(), "1\n");
  EXPECT_TRUE(VerifyFinal(run_dir_ + "/final").ok());
  const absl::StatusOr<LogSlice> log = ReadLog(Dir(1), 0, 1 << 20);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(log->data, HasSubstr("fake worker: attempt 1"));
  // No process is left.
  EXPECT_TRUE(WaitFor([&] { return executor_.ListOwned(root_ + "/runs").empty(); }));
}

TEST_F(LocalExecutorTest, LaunchesOneShimPerAttempt) {
  const internal::AttemptSpec spec = Spec(1, {{"fake.steps", "100000"}});
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(executor_.Launch(spec).ok());
  const Observation first = WaitForKind(1, Kind::kRunning);
  // Another daemon, which did not spawn the shim, launches again.
  LocalExecutor other{kShim};
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(other.Launch(spec).ok());
  const Observation again = other.Observe(Ref(1));
  ASSERT_EQ(static_cast<int>(again.kind), static_cast<int>(Kind::kRunning));
  EXPECT_EQ(again.info->shim().pid(), first.info->shim().pid());
  ASSERT_TRUE(other.Signal(Ref(1), internal::KILL, absl::ZeroDuration()).ok());
  const Observation end = WaitForKind(1, Kind::kExited);
  EXPECT_TRUE(end.exit->killed_by_escalation());
  EXPECT_FALSE(end.exit->likely_out_of_memory());
  // An ended attempt is not started again.
  ASSERT_TRUE(executor_.Launch(spec).ok());
  EXPECT_EQ(static_cast<int>(executor_.Observe(Ref(1)).kind), static_cast<int>(Kind::kExited));
}

TEST_F(LocalExecutorTest, ExitsASecondShimOfALiveAttempt) {
  ASSERT_TRUE(executor_.Launch(Spec(1, {{"fake.steps", "100000"}})).ok());
  const Observation running = WaitForKind(1, Kind::kRunning);
  const std::string command = kShim + " --attempt-dir " + Dir(1) + " 2>/dev/null";
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 3);
  const Observation after = executor_.Observe(Ref(1));
  ASSERT_EQ(static_cast<int>(after.kind), static_cast<int>(Kind::kRunning));
  EXPECT_EQ(after.info->shim().pid(), running.info->shim().pid());
  EXPECT_FALSE(std::filesystem::exists(Dir(1) + "/exit.rec"));
}

TEST_F(LocalExecutorTest, ResumesExactlyAfterAPause) {
  ASSERT_TRUE(executor_.Launch(Spec(1, {{"fake.steps", "120"}, {"fake.step_ms", "2"}})).ok());
  ASSERT_TRUE(WaitFor([&] { return LastStep(1) > 10; }));
  ASSERT_TRUE(executor_.Signal(Ref(1), internal::PAUSE, absl::Minutes(5)).ok());
  const Observation paused = WaitForKind(1, Kind::kExited);
  ASSERT_EQ(paused.worker_exit->end(), v1::Attempt::PAUSED_OK);
  const v1::Checkpoint& checkpoint = paused.worker_exit->last_checkpoint();
  EXPECT_EQ(checkpoint.step(), paused.worker_exit->last_step());

  internal::AttemptSpec second = Spec(2, {{"fake.steps", "120"}, {"fake.step_ms", "0"}});
  second.set_resume_path(checkpoint.path());
  second.set_resume_name(checkpoint.name());
  ASSERT_TRUE(executor_.Launch(second).ok());
  const Observation end = WaitForKind(2, Kind::kExited);
  EXPECT_EQ(end.worker_exit->end(), v1::Attempt::COMPLETED);
  EXPECT_EQ(end.worker_exit->first_step(), checkpoint.step() + 1);

  // The same job, uninterrupted, in another run directory.
  internal::AttemptSpec whole = Spec(1, {{"fake.steps", "120"}, {"fake.step_ms", "0"}});
  whole.set_run_dir(root_ + "/runs/whole");
  ASSERT_TRUE(executor_.Launch(whole).ok());
  ASSERT_TRUE(WaitFor([&] {
    return executor_.Observe({.job = "jobs/abc", .attempt = 1, .run_dir = whole.run_dir()}).kind ==
           Kind::kExited;
  }));
  EXPECT_EQ(ReadFile(run_dir_ + "/final/model.safetensors").value(),
            ReadFile(whole.run_dir() + "/final/model.safetensors").value());
}

TEST_F(LocalExecutorTest, EscalatesAgainstAHangingWorkerAtTheDeadline) {
  ASSERT_TRUE(executor_.Launch(Spec(1, {{"fake.hang_at", "5"}})).ok());
  ASSERT_TRUE(WaitFor([&] { return LastStep(1) == 5; }));
  ASSERT_TRUE(executor_.Signal(Ref(1), internal::STOP, absl::Milliseconds(50)).ok());
  const Observation end = WaitForKind(1, Kind::kExited);
  EXPECT_EQ(end.exit->signal(), SIGKILL);  // it ignores SIGTERM
  EXPECT_TRUE(end.exit->killed_by_escalation());
  EXPECT_FALSE(end.worker_exit.has_value());
}

TEST_F(LocalExecutorTest, RecordsTheSignalOfAKilledWorker) {
  ASSERT_TRUE(executor_.Launch(Spec(1, {{"fake.crash_at", "7"}})).ok());
  const Observation end = WaitForKind(1, Kind::kExited);
  EXPECT_EQ(end.exit->signal(), SIGKILL);
  EXPECT_FALSE(end.exit->killed_by_escalation());
  // The kernel did not kill it, which is known where the kernel counts its kills.
  std::ifstream counts("/proc/vmstat");
  const std::string text{std::istreambuf_iterator<char>(counts), {}};
  EXPECT_EQ(end.exit->likely_out_of_memory(), !absl::StrContains(text, "\noom_kill "));
  EXPECT_FALSE(end.worker_exit.has_value());
  EXPECT_EQ(LastStep(1), 7);
  EXPECT_THAT(end.exit->log_excerpt(), HasSubstr("crashing at step 7"));
}

TEST_F(LocalExecutorTest, CheckpointsAndExitsWithoutItsShim) {
  ASSERT_TRUE(executor_.Launch(Spec(1, {{"fake.steps", "100000"}})).ok());
  const Observation running = WaitForKind(1, Kind::kRunning);
  ASSERT_TRUE(WaitFor([&] { return LastStep(1) > 3; }));
  ASSERT_TRUE(KillProcess(running.info->shim(), SIGKILL).ok());
  // The lock is held until the worker has exited: unknown, never gone.
  const Observation gone = WaitForKind(1, Kind::kGone);
  EXPECT_FALSE(gone.never_started);
  EXPECT_FALSE(IsAlive(running.info->worker()));
  ASSERT_TRUE(gone.worker_exit.has_value());
  EXPECT_EQ(gone.worker_exit->end(), v1::Attempt::PREEMPTED_OK);
  EXPECT_EQ(gone.worker_exit->last_checkpoint().step(), gone.worker_exit->last_step());
  // The checkpoint on disk is complete.
  bool found = false;
  const std::vector<FoundCheckpoint> checkpoints = ScanCheckpoints(run_dir_).value();
  for (const FoundCheckpoint& checkpoint : checkpoints) {
    if (checkpoint.path != gone.worker_exit->last_checkpoint().path()) continue;
    EXPECT_TRUE(VerifyCheckpoint(checkpoint).ok());
    found = true;
  }
  EXPECT_TRUE(found);
}

TEST_F(LocalExecutorTest, ObservesAHangingWorkerOfADeadShimAsUnknownUntilKilled) {
  ASSERT_TRUE(executor_.Launch(Spec(1, {{"fake.hang_at", "3"}})).ok());
  const Observation running = WaitForKind(1, Kind::kRunning);
  ASSERT_TRUE(WaitFor([&] { return LastStep(1) == 3; }));
  ASSERT_TRUE(KillProcess(running.info->shim(), SIGKILL).ok());
  WaitForKind(1, Kind::kUnknown);
  ASSERT_EQ(executor_.ListOwned(root_ + "/runs").size(), 1u);
  EXPECT_EQ(executor_.ListOwned(root_ + "/runs")[0].attempt, 1);
  ASSERT_TRUE(executor_.KillByIdentity(Ref(1)).ok());
  const Observation gone = WaitForKind(1, Kind::kGone);
  EXPECT_FALSE(gone.worker_exit.has_value());
  EXPECT_FALSE(IsAlive(running.info->worker()));
}

TEST_F(LocalExecutorTest, LeavesAProcessAloneThatHasThePidOfADeadShim) {
  ASSERT_TRUE(executor_.Launch(Spec(1, {{"fake.steps", "100000"}})).ok());
  const Observation running = WaitForKind(1, Kind::kRunning);
  ASSERT_TRUE(executor_.KillByIdentity(Ref(1)).ok());
  WaitForKind(1, Kind::kGone);
  // As after a long time, or a restart of the machine: another process has the pid of both.
  const absl::StatusOr<pid_t> other = SpawnProcess({.argv = {"/bin/sleep", "600"}});
  ASSERT_TRUE(other.ok()) << other.status();
  internal::ShimInfo info = *running.info;
  info.mutable_shim()->set_pid(*other);
  info.mutable_worker()->set_pid(*other);
  ASSERT_TRUE(WriteFileAtomic(Dir(1) + "/shim.json", MessageToJsonLine(info)).ok());
  EXPECT_EQ(static_cast<int>(executor_.Observe(Ref(1)).kind), static_cast<int>(Kind::kGone));
  EXPECT_TRUE(executor_.KillByIdentity(Ref(1)).ok());
  EXPECT_EQ(::waitpid(*other, nullptr, WNOHANG), 0) << "it was killed";
  ::kill(*other, SIGKILL);
  ::waitpid(*other, nullptr, 0);
}

TEST_F(LocalExecutorTest, ObservesAStoppedShimAsUnknown) {
  ASSERT_TRUE(executor_.Launch(Spec(1, {{"fake.steps", "100000"}})).ok());
  const Observation running = WaitForKind(1, Kind::kRunning);
  ASSERT_TRUE(KillProcess(running.info->shim(), SIGSTOP).ok());
  EXPECT_EQ(static_cast<int>(executor_.Observe(Ref(1)).kind), static_cast<int>(Kind::kUnknown));
  ASSERT_TRUE(KillProcess(running.info->shim(), SIGCONT).ok());
  WaitForKind(1, Kind::kRunning);
}

TEST_F(LocalExecutorTest, CheckpointsAndRecordsAfterSigtermToTheShim) {
  ASSERT_TRUE(executor_.Launch(Spec(1, {{"fake.steps", "100000"}})).ok());
  const Observation running = WaitForKind(1, Kind::kRunning);
  ASSERT_TRUE(WaitFor([&] { return LastStep(1) > 3; }));
  ASSERT_TRUE(KillProcess(running.info->shim(), SIGTERM).ok());
  const Observation end = WaitForKind(1, Kind::kExited);
  EXPECT_EQ(end.exit->exit_code(), 0);
  EXPECT_EQ(end.worker_exit->end(), v1::Attempt::PREEMPTED_OK);
  EXPECT_GT(end.worker_exit->last_checkpoint().step(), 0);
}

TEST_F(LocalExecutorTest, RecordsASpawnErrorForAMissingWorker) {
  internal::AttemptSpec spec = Spec(1, {});
  spec.set_worker_path("/nonexistent/trainerd-worker");
  ASSERT_TRUE(executor_.Launch(spec).ok());
  const Observation end = WaitForKind(1, Kind::kExited);
  EXPECT_THAT(end.exit->spawn_error(), HasSubstr("/nonexistent/trainerd-worker"));
  EXPECT_THAT(end.exit->spawn_error(), HasSubstr("No such file"));
}

TEST_F(LocalExecutorTest, ReportsAMissingShimWithTheSettingToChange) {
  LocalExecutor executor{"/nonexistent/trainerd-shim"};
  const absl::Status status = executor.Launch(Spec(1, {}));
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("shim_path"));
  // The attempt was not started.
  EXPECT_TRUE(executor.Observe(Ref(1)).never_started);
}

TEST_F(LocalExecutorTest, RefusesAnOlderAttemptAndItsShim) {
  ASSERT_TRUE(executor_.Launch(Spec(2, {{"fake.steps", "3"}})).ok());
  WaitForKind(2, Kind::kExited);
  EXPECT_TRUE(absl::IsFailedPrecondition(executor_.Launch(Spec(1, {}))));
  // A late shim of attempt 1, spawned before attempt 2 became the publisher.
  ASSERT_TRUE(MakeDirectories(Dir(1) + "/logs").ok());
  ASSERT_TRUE(WriteFileAtomic(Dir(1) + "/spec.pb", Spec(1, {}).SerializeAsString()).ok());
  const std::string command = kShim + " --attempt-dir " + Dir(1) + " 2>/dev/null";
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 1);
  const Observation refused = executor_.Observe(Ref(1));
  ASSERT_EQ(static_cast<int>(refused.kind), static_cast<int>(Kind::kExited));
  EXPECT_THAT(refused.exit->spawn_error(), HasSubstr("publisher is attempt 2"));
  EXPECT_TRUE(Events(1).empty());
}

TEST_F(LocalExecutorTest, RunsOneAttemptPerJobAtATime) {
  internal::AttemptSpec first = Spec(1, {{"fake.steps", "100000"}});
  first.mutable_config()->mutable_config()->mutable_checkpoint()->set_every_steps(0);
  ASSERT_TRUE(executor_.Launch(first).ok());
  WaitForKind(1, Kind::kRunning);
  ASSERT_TRUE(executor_.Launch(Spec(2, {{"fake.steps", "3"}})).ok());
  const Observation refused = WaitForKind(2, Kind::kExited);
  EXPECT_THAT(refused.exit->spawn_error(), HasSubstr("run.lock is held"));
  EXPECT_TRUE(Events(2).empty());
  // Attempt 1 is no longer the publisher, so its checkpoint fails and is not published.
  ASSERT_TRUE(WaitFor([&] { return LastStep(1) > 2; }));
  ASSERT_TRUE(executor_.Signal(Ref(1), internal::CHECKPOINT, absl::ZeroDuration()).ok());
  const Observation fenced = WaitForKind(1, Kind::kExited);
  EXPECT_EQ(fenced.worker_exit->end(), v1::Attempt::FAILED);
  EXPECT_THAT(fenced.worker_exit->error().message(), HasSubstr("may not publish"));
  EXPECT_TRUE(ScanCheckpoints(run_dir_).value().empty());
}

TEST_F(LocalExecutorTest, FencesAnAttemptThatWasNeverSpawned) {
  Observation nothing = executor_.Observe(Ref(1));
  EXPECT_EQ(static_cast<int>(nothing.kind), static_cast<int>(Kind::kGone));
  EXPECT_TRUE(nothing.never_started);
  ASSERT_TRUE(executor_.KillByIdentity(Ref(1)).ok());
  const Observation fenced = executor_.Observe(Ref(1));
  ASSERT_EQ(static_cast<int>(fenced.kind), static_cast<int>(Kind::kExited));
  EXPECT_THAT(fenced.exit->spawn_error(), HasSubstr("given up"));
  // A late shim exits.
  ASSERT_TRUE(WriteFileAtomic(Dir(1) + "/spec.pb", Spec(1, {}).SerializeAsString()).ok());
  const std::string command = kShim + " --attempt-dir " + Dir(1) + " 2>/dev/null";
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 3);
}

TEST_F(LocalExecutorTest, WorksInAStateDirectoryOf200Characters) {
  run_dir_ = root_ + "/" + std::string(100, 's') + "/" + std::string(100, 't') + "/runs/abc";
  ASSERT_TRUE(executor_.Launch(Spec(1, {{"fake.steps", "100000"}})).ok());
  WaitForKind(1, Kind::kRunning);
  ASSERT_TRUE(executor_.Signal(Ref(1), internal::DISCARD, absl::ZeroDuration()).ok());
  const Observation end = WaitForKind(1, Kind::kExited);
  EXPECT_EQ(end.worker_exit->end(), v1::Attempt::DISCARDED);
}

TEST_F(LocalExecutorTest, KeepsTrainingAfterARequestedCheckpoint) {
  ASSERT_TRUE(executor_.Launch(Spec(1, {{"fake.steps", "100000"}})).ok());
  WaitForKind(1, Kind::kRunning);
  ASSERT_TRUE(WaitFor([&] { return LastStep(1) > 2; }));
  ASSERT_TRUE(executor_.Signal(Ref(1), internal::CHECKPOINT, absl::ZeroDuration()).ok());
  ASSERT_TRUE(WaitFor([&] { return !ScanCheckpoints(run_dir_).value().empty(); }));
  const int64_t step = LastStep(1);
  EXPECT_TRUE(WaitFor([&] { return LastStep(1) > step + 2; }));
}

// The shim's reply to a hello.

}  // namespace
}  // namespace trainerd::server
