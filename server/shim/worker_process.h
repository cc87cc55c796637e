// SPDX-License-Identifier: Apache-2.0
// The shim's one child: spawning it with its control socket, log pipe and the lock, telling it what
// is wanted, signalling it, and how it ended.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/base/fd.h"
#include "trainerd/internal/worker.pb.h"

namespace trainerd::server {

class WorkerProcess {
 public:
  struct Options {
    std::string worker_path;
    std::string attempt_dir;
    // Inherited by the worker, so that the run directory stays locked for as long as either of the
    // two lives.
    int run_lock_fd = -1;
  };
  // How the process ended.
  struct End {
    int exit_code = 0;
    int signal = 0;
    bool core_dumped = false;
    double user_cpu_seconds = 0;
    double system_cpu_seconds = 0;
    int64_t memory_peak_bytes = 0;
  };

  // Runs `WORKER attempt --attempt-dir DIR --control-fd N` with stdout and stderr in one pipe. It
  // has no parent-death signal: the end of the control socket tells it that the shim is gone.
  // Errors: what the exec said, with the program's path.
  static absl::StatusOr<WorkerProcess> Spawn(const Options& options);
  WorkerProcess(WorkerProcess&& other) = default;
  WorkerProcess& operator=(WorkerProcess&&) = delete;

  const internal::ProcessId& id() const { return id_; }
  // Read end of the log pipe, non-blocking.
  int log_fd() const { return log_.get(); }

  // Errors: Unavailable when the worker is gone, does not read its commands, or Leave was called.
  absl::Status Send(internal::RequestedAction action);
  // Ends the control socket: the worker checkpoints and leaves.
  void Leave();
  // Does nothing once the worker was reaped.
  void Kill(int signal);
  // The end if the worker has ended (and is reaped), else nullopt.
  std::optional<End> Reap();

 private:
  WorkerProcess() = default;

  internal::ProcessId id_;
  Fd control_, log_;
  bool left_ = false;
  bool reaped_ = true;
};

}  // namespace trainerd::server
