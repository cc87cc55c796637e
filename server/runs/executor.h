// SPDX-License-Identifier: Apache-2.0
// Where attempts run: launch, observe, signal. An executor never decides what an end means for the
// job; it reports what it finds (exit records, a live shim, a held lock). LocalExecutor is the
// implementation for this machine.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proto/contract/run_dir/attempt_files.h"
#include "trainerd/internal/worker.pb.h"

namespace trainerd::server {

// Identifies one attempt.
struct AttemptRef {
  // jobs/{id}
  std::string job;
  // From 1.
  int attempt = 0;
  // Absolute.
  std::string run_dir;
};

using trainerd::AttemptDir;
inline std::string AttemptDir(const AttemptRef& attempt) {
  return trainerd::AttemptDir(attempt.run_dir, attempt.attempt);
}

// The state of an attempt at one time.
struct Observation {
  enum class Kind {
    // The shim was spawned and does not answer yet.
    kPending,
    // The shim answers. The worker lives, or its exit record is being made durable.
    kRunning,
    // The worker has exited and exit.rec exists. `exit` is set, and `worker_exit` if the worker
    // wrote its own record.
    kExited,
    // No process and no exit.rec (the shim died). `worker_exit` takes precedence if it is set.
    kGone,
    // The shim does not answer and run.lock is held: processes of the attempt may be alive.
    kUnknown,
  };
  Kind kind = Kind::kUnknown;
  std::optional<internal::ExitRecord> exit;
  std::optional<internal::WorkerExitRecord> worker_exit;
  std::optional<internal::ShimInfo> info;
  // kGone only: no shim has taken the attempt (a crash between the attempt's row and the spawn).
  // The attempt has applied no step, so this is not a failure of the job. Launch may be called
  // again; KillByIdentity ensures instead that a late shim starts no worker.
  bool never_started = false;
  // Reason for the kind, for logs.
  std::string detail;
};

// Thread-safety: all methods may be called from any thread. Observe and Signal wait for the shim,
// at most 1 s; AttemptProbe calls them from another thread.
class Executor {
 public:
  virtual ~Executor() = default;

  // Writes the attempt's number to `publisher`, writes spec.pb, both durable, then spawns the shim
  // in a session of its own and returns. Idempotent per attempt: OK without effect if a shim has
  // taken the attempt or it has ended. Errors: FailedPrecondition when a newer attempt is the
  // publisher, NotFound when the shim's program is missing, ResourceExhausted on a full disk.
  virtual absl::Status Launch(const internal::AttemptSpec& spec) = 0;

  virtual Observation Observe(const AttemptRef& attempt) = 0;

  // Delivers a requested action. `deadline` > 0 is the grace before the shim sends SIGTERM, and
  // SIGKILL 2 s later. Safe to repeat: a milder action than the one in force has no effect, and a
  // deadline only moves earlier. Errors: Unavailable when no shim answers.
  virtual absl::Status Signal(const AttemptRef& attempt, internal::RequestedAction action,
                              absl::Duration deadline) = 0;

  // Last resort for kUnknown: sends SIGKILL to the attempt's processes, found by identity (pid,
  // start time, boot id) or by their command line, never by pid alone. Fences an attempt that never
  // started, so that a late shim exits; Observe then returns kExited with spawn_error.
  virtual absl::Status KillByIdentity(const AttemptRef& attempt) = 0;

  // Attempts under `runs_dir` whose run.lock is held, with or without a row in the database.
  virtual std::vector<AttemptRef> ListOwned(const std::string& runs_dir) = 0;
};

}  // namespace trainerd::server
