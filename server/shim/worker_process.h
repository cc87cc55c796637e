// SPDX-License-Identifier: Apache-2.0
// The shim's one child, the worker: spawns it with its control socket, log pipe and run.lock, sends
// it actions and signals, and reports how it ended.
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
    // The worker inherits it, so that the run directory stays locked while the shim or the worker
    // lives.
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

  // Runs `WORKER attempt --attempt-dir DIR --control-fd N` with stdout and stderr in one pipe. The
  // worker has no parent-death signal: it reads the end of the control socket when the shim dies.
  // Errors: of the exec, with the program's path.
  static absl::StatusOr<WorkerProcess> Spawn(const Options& options);
  WorkerProcess(WorkerProcess&& other) = default;
  WorkerProcess& operator=(WorkerProcess&&) = delete;

  const internal::ProcessId& id() const { return id_; }
  // Read end of the log pipe, non-blocking.
  int log_fd() const { return log_.get(); }

  // Errors: Unavailable when the worker has exited, does not read its commands, or CloseCommands
  // was called.
  absl::Status Send(internal::RequestedAction action);
  // Ends the control socket, at which the worker writes a checkpoint and exits.
  void CloseCommands();
  // Does nothing after the worker was reaped.
  void Kill(int signal);
  // Reaps the worker if it has exited and returns its end, once; otherwise nullopt.
  std::optional<End> Reap();

 private:
  WorkerProcess() = default;

  internal::ProcessId id_;
  Fd control_, log_;
  bool commands_closed_ = false;
  bool reaped_ = true;
};

}  // namespace trainerd::server
