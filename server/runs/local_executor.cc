// SPDX-License-Identifier: Apache-2.0
// Observe derives the kind from the exit records first, then from the shim's reply, then from the
// locks.
#include "server/runs/local_executor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/base/atomic_file.h"
#include "proto/base/directory.h"
#include "proto/base/fd.h"
#include "proto/base/process/process.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"
#include "proto/contract/job_file/yaml_to_proto.h"
#include "proto/contract/run_dir/process_id.h"
#include "server/runs/process_scan.h"
#include "server/runs/shim_client.h"

namespace trainerd::server {
namespace {

// How often and how fast FenceUnstarted tries to lock an attempt: 50 ms in all.
constexpr int kFenceTries = 10;
constexpr absl::Duration kFenceRetry = absl::Milliseconds(5);

// Below the limit of 1 s of executor.h.
constexpr absl::Duration kShimTimeout = absl::Milliseconds(800);

// Whether a shim has ever taken the attempt.
bool WasTaken(const std::string& attempt_dir) {
  return PathExists(attempt_dir + "/shim.json") || PathExists(attempt_dir + "/exit.rec") ||
         PathExists(attempt_dir + "/worker_exit.rec");
}

bool HeldOrUnclear(const std::string& path) {
  const absl::StatusOr<bool> held = IsLockHeld(path);
  // A lock that cannot be checked counts as held.
  return !held.ok() || *held;
}

// Attempt number that the last holder of run.lock wrote into it; 0 when unknown.
int LockHolder(const std::string& run_dir) {
  const absl::StatusOr<std::string> text = ReadFile(run_dir + "/run.lock");
  int attempt = 0;
  if (!text.ok() || !absl::SimpleAtoi(absl::StripAsciiWhitespace(*text), &attempt)) return 0;
  return attempt;
}

absl::StatusOr<pid_t> SpawnShim(const std::string& shim_path, const std::string& attempt_dir) {
  const std::string path = attempt_dir + "/shim.log";
  const Fd log(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log.is_open()) return ErrnoStatus(errno, "open " + path);
  return SpawnProcess({.argv = {shim_path, "--attempt-dir", attempt_dir},
                       .fds = {-1, log.get(), log.get()},
                       .group = ProcessGroup::kOwnSession,
                       .working_directory = "/"});
}

// The resolved job file, for the operator.
absl::Status WriteJobFile(const internal::AttemptSpec& spec) {
  const std::string path = spec.run_dir() + "/job_config.yaml";
  if (PathExists(path)) return absl::OkStatus();
  const std::vector<std::string> given(spec.config().given().begin(), spec.config().given().end());
  return WriteFileAtomic(path, MessageToYaml(spec.config().config(), &given));
}

}  // namespace

LocalExecutor::LocalExecutor(std::string shim_path) : shim_path_(std::move(shim_path)) {}

absl::Status LocalExecutor::Launch(const internal::AttemptSpec& spec) {
  const std::string& run_dir = spec.run_dir();
  const std::string attempt_dir = AttemptDir(run_dir, spec.attempt());
  if (spec.attempt() < 1 || run_dir.empty() || run_dir.front() != '/') {
    return absl::InvalidArgumentError(absl::StrCat("cannot launch attempt ", spec.attempt(),
                                                   " in run directory \"", run_dir, "\""));
  }
  if (access(shim_path_.c_str(), X_OK) != 0) {
    return absl::NotFoundError(absl::StrCat(
        shim_path_, " is not executable: ", std::string(ErrnoStatus(errno, "").message()),
        "; set shim_path in trainerd.yaml, or install trainerd-shim beside trainerd"));
  }
  RETURN_IF_ERROR(MakeDirectories(attempt_dir + "/logs"));
  ASSIGN_OR_RETURN(const int publisher, ReadPublisher(run_dir));
  if (publisher > spec.attempt()) {
    return absl::FailedPreconditionError(absl::StrCat("attempt ", spec.attempt(), " of ",
                                                      spec.job(), " may not be launched: attempt ",
                                                      publisher, " is the publisher"));
  }
  const ShimReaper::Child child = reaper_.Find(attempt_dir);
  const bool spawned = child.pid != 0 && !child.exited;
  if (spawned || WasTaken(attempt_dir) || HeldOrUnclear(attempt_dir + "/shim.lock")) {
    return absl::OkStatus();
  }
  // From here on the worker of an older attempt cannot publish.
  if (publisher < spec.attempt()) RETURN_IF_ERROR(WritePublisher(run_dir, spec.attempt()));
  RETURN_IF_ERROR(WriteJobFile(spec));
  RETURN_IF_ERROR(WriteFileAtomic(attempt_dir + "/spec.pb", spec.SerializeAsString()));
  ASSIGN_OR_RETURN(const pid_t pid, SpawnShim(shim_path_, attempt_dir));
  reaper_.Add(attempt_dir, pid);
  return absl::OkStatus();
}

Observation LocalExecutor::Observe(const AttemptRef& attempt) {
  const std::string attempt_dir = AttemptDir(attempt);
  const auto with_records = [&](Observation* observation) {
    absl::StatusOr<std::optional<internal::ExitRecord>> exit = ReadExitRecord(attempt_dir);
    if (exit.ok() && exit->has_value()) {
      observation->kind = Observation::Kind::kExited;
      observation->never_started = false;
      observation->exit = **exit;
      observation->detail = "exit.rec exists";
    } else if (!exit.ok()) {
      absl::StrAppend(&observation->detail, "; ", exit.status().message());
    }
    absl::StatusOr<std::optional<internal::WorkerExitRecord>> own =
        ReadWorkerExitRecord(attempt_dir);
    if (own.ok()) observation->worker_exit = *std::move(own);
    if (!own.ok()) absl::StrAppend(&observation->detail, "; ", own.status().message());
    absl::StatusOr<std::optional<internal::ShimInfo>> info = ReadShimInfo(attempt_dir);
    if (info.ok() && !observation->info.has_value()) observation->info = *std::move(info);
  };
  if (PathExists(attempt_dir + "/exit.rec")) {
    reaper_.Forget(attempt_dir);
    Observation observation;
    with_records(&observation);
    if (observation.kind == Observation::Kind::kExited) return observation;
  }
  Observation observation = ObserveWithoutRecord(attempt, attempt_dir);
  // The shim may have written its record and exited since the first check.
  if (observation.kind != Observation::Kind::kRunning &&
      observation.kind != Observation::Kind::kPending) {
    with_records(&observation);
  }
  return observation;
}

Observation LocalExecutor::ObserveWithoutRecord(const AttemptRef& attempt,
                                                const std::string& attempt_dir) {
  using Kind = Observation::Kind;
  Observation observation;
  const ShimReaper::Child child = reaper_.Find(attempt_dir);
  internal::ShimReply hello;
  const absl::Status answer = ShimClient::Connect(attempt_dir, kShimTimeout, &hello).status();
  // A shim without a common protocol version is alive too.
  if (answer.ok() || absl::IsFailedPrecondition(answer)) {
    observation.kind = Kind::kRunning;
    if (hello.has_info()) observation.info = hello.info();
    observation.detail = answer.ok() ? "the shim answers" : std::string(answer.message());
    return observation;
  }
  observation.detail = std::string(answer.message());
  if (!PathExists(attempt_dir + "/shim.json")) {
    const bool spawned = child.pid != 0 && !child.exited;
    if (spawned || HeldOrUnclear(attempt_dir + "/shim.lock")) {
      observation.kind = Kind::kPending;
      observation.detail = "the shim is starting";
      return observation;
    }
    observation.kind = Kind::kGone;
    // A shim may have taken the attempt since the first check; the next observation decides.
    observation.never_started = !WasTaken(attempt_dir);
    observation.detail =
        child.exited ? absl::StrCat("the shim exited before it took the attempt: ",
                                    ProcessExit::FromWaitStatus(child.wait_status).ToString(),
                                    "; see ", attempt_dir, "/shim.log")
                     : "no shim has taken the attempt";
    if (!observation.never_started) observation.kind = Kind::kUnknown;
    return observation;
  }
  const int holder = LockHolder(attempt.run_dir);
  const bool held = HeldOrUnclear(attempt.run_dir + "/run.lock");
  // The lock is exclusive and inherited: while another attempt holds it, no process of this one
  // lives.
  if (held && (holder == 0 || holder == attempt.attempt)) {
    observation.kind = Kind::kUnknown;
    absl::StrAppend(&observation.detail, "; run.lock is held");
    return observation;
  }
  observation.kind = Kind::kGone;
  absl::StrAppend(&observation.detail, "; run.lock is not held by this attempt");
  return observation;
}

absl::Status LocalExecutor::Signal(const AttemptRef& attempt, internal::RequestedAction action,
                                   absl::Duration deadline) {
  internal::ShimReply reply;
  ASSIGN_OR_RETURN(ShimClient client,
                   ShimClient::Connect(AttemptDir(attempt), kShimTimeout, &reply));
  internal::ShimRequest request;
  request.mutable_signal()->set_action(action);
  request.mutable_signal()->set_deadline_seconds(absl::ToDoubleSeconds(deadline));
  ASSIGN_OR_RETURN(reply, client.Call(request));
  if (!reply.error().empty()) return absl::UnavailableError(reply.error());
  return absl::OkStatus();
}

absl::Status LocalExecutor::KillByIdentity(const AttemptRef& attempt) {
  const std::string attempt_dir = AttemptDir(attempt);
  std::vector<internal::ProcessId> processes = FindProcessesOfAttempt(attempt_dir);
  absl::StatusOr<std::optional<internal::ShimInfo>> info = ReadShimInfo(attempt_dir);
  if (info.ok() && info->has_value()) {
    // The worker first, so that a shim that still works can write the exit record. The shim is
    // killed too, because it does not answer.
    processes.push_back((*info)->worker());
    processes.push_back((*info)->shim());
  }
  for (const internal::ProcessId& process : processes) {
    const absl::Status status = KillProcess(process, SIGKILL);
    if (!status.ok() && !absl::IsNotFound(status)) return status;
  }
  return FenceUnstarted(attempt_dir);
}

namespace {

// True once this process holds the lock. A probe of this daemon (IsLockHeld) can hold it for a
// moment, so a held lock is tried again for a short time.
bool LockForFence(int fd) {
  for (int tries = 0; tries < kFenceTries; ++tries) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
    absl::SleepFor(kFenceRetry);
  }
  return false;
}

}  // namespace

absl::Status LocalExecutor::FenceUnstarted(const std::string& attempt_dir) {
  RETURN_IF_ERROR(MakeDirectories(attempt_dir));
  const std::string path = attempt_dir + "/shim.lock";
  const Fd lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.is_open()) return ErrnoStatus(errno, "open " + path);
  // A held lock belongs to a shim that has taken the attempt. While this lock is held, no shim can.
  if (!LockForFence(lock.get()) || WasTaken(attempt_dir)) return absl::OkStatus();
  internal::ExitRecord record;
  record.set_spawn_error("given up before a shim took the attempt");
  *record.mutable_end_time() = ToProto(absl::Now());
  return WriteExitRecord(attempt_dir, record);
}

std::vector<AttemptRef> LocalExecutor::ListOwned(const std::string& runs_dir) {
  std::vector<AttemptRef> owned;
  const absl::StatusOr<std::vector<std::string>> names = ListDirectory(runs_dir);
  if (!names.ok()) return owned;  // no run directory exists yet
  for (const std::string& name : *names) {
    const std::string run_dir = absl::StrCat(runs_dir, "/", name);
    const absl::StatusOr<bool> held = IsLockHeld(run_dir + "/run.lock");
    if (!held.ok() || !*held) continue;
    int attempt = LockHolder(run_dir);
    if (attempt == 0) attempt = ReadPublisher(run_dir).value_or(0);
    owned.push_back({.job = "jobs/" + name, .attempt = attempt, .run_dir = run_dir});
  }
  return owned;
}

}  // namespace trainerd::server
