// SPDX-License-Identifier: Apache-2.0
// Where attempts run, as the reconciler sees it: launch, observe, signal. An executor never decides
// what an end means for the job; it reports evidence (records, a live shim, a held lock) and says
// so when there is none. LocalExecutor is the one for this machine.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proto/contract/run_dir/attempt_files.h"
#include "trainerd/internal/worker.pb.h"

namespace trainerd::server {

// Names one attempt: jobs/{id}, its number from 1, and the job's run directory (absolute).
struct AttemptRef {
  std::string job;
  int attempt = 0;
  std::string run_dir;
};

using trainerd::AttemptDir;
inline std::string AttemptDir(const AttemptRef& attempt) {
  return trainerd::AttemptDir(attempt.run_dir, attempt.attempt);
}

// What is known about an attempt at one moment.
struct Observation {
  enum class Kind {
    kPending,  // spawned, the shim is not up yet
    kRunning,  // the shim answers; the worker lives, or its exit record is being made durable
    kExited,   // the worker is gone and exit.rec is there; `exit` is set, `worker_exit` too if the
               // worker wrote its own
    kGone,     // no process and no exit.rec (the shim died); `worker_exit` may be there and then
               // decides
    kUnknown,  // the shim does not answer but run.lock is held: processes of the attempt may live
  };
  Kind kind = Kind::kUnknown;
  std::optional<internal::ExitRecord> exit;
  std::optional<internal::WorkerExitRecord> worker_exit;
  std::optional<internal::ShimInfo> info;
  // kGone only: no shim ever took the attempt (a crash between the attempt's row and the spawn). It
  // has applied no step, so this is no failure of the job: Launch may be called again;
  // KillByIdentity instead makes sure that a late shim leaves without starting it.
  bool never_started = false;
  // For people and logs: why the kind was chosen.
  std::string detail;
};

// Thread-safety: all methods may be called from several threads at once.
class Executor {
 public:
  virtual ~Executor() = default;

  // Makes `publisher` name the attempt and writes spec.pb, both durable, then spawns the shim in a
  // session of its own and returns. Idempotent by attempt: an attempt that a shim has taken, or
  // that has ended, is left alone and the answer is OK. Errors: FailedPrecondition when a newer
  // attempt is the publisher, NotFound when the shim's program is missing, ResourceExhausted for a
  // full disk.
  virtual absl::Status Launch(const internal::AttemptSpec& spec) = 0;

  // Never blocks longer than 1 s.
  virtual Observation Observe(const AttemptRef& attempt) = 0;

  // Passes on what is wanted; `deadline` > 0 is the grace before the shim sends SIGTERM and, 2 s
  // later, SIGKILL. Safe to repeat: a milder want than one already passed on changes nothing, and a
  // deadline is only ever brought forward. Errors: Unavailable when no shim answers.
  virtual absl::Status Signal(const AttemptRef& attempt, internal::RequestedAction action,
                              absl::Duration deadline) = 0;

  // Tells the shim that everything was read, so that it may leave. OK when there is no shim any
  // more.
  virtual absl::Status Shutdown(const AttemptRef& attempt) = 0;

  // Last resort for kUnknown: SIGKILL to the attempt's processes, found by identity (pid, start
  // time, boot id) or by their own command line, never by pid alone. For an attempt that never
  // started: fences it, so that a late shim leaves (Observe then says kExited with spawn_error).
  virtual absl::Status KillByIdentity(const AttemptRef& attempt) = 0;

  // Attempts of ours whose run.lock is held now, found under `runs_dir`, whether or not the caller
  // has a row for them.
  virtual std::vector<AttemptRef> ListOwned(const std::string& runs_dir) = 0;
};

}  // namespace trainerd::server
