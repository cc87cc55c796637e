// SPDX-License-Identifier: Apache-2.0
// The worker gets exactly five descriptors: null, log pipe, log pipe, control socket (3), run.lock
// (4).
#include "server/shim/worker_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/base/atomic_file.h"
#include "proto/base/process/process.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/process_id.h"

namespace trainerd::server {
namespace {

constexpr int kControlFd = 3;
// Makes the kernel's OOM killer prefer the worker to the daemon and the shim. The default is 0; a
// process with 1000 is killed first.
constexpr char kOomScoreAdjust[] = "300";

void RaiseOomScore(pid_t pid) {
  const std::string path = absl::StrCat("/proc/", pid, "/oom_score_adj");
  const Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  // Without the permission, the kernel's own choice stays.
  if (fd.is_open() && write(fd.get(), kOomScoreAdjust, std::strlen(kOomScoreAdjust)) < 0) errno = 0;
}

double Seconds(const timeval& time) { return time.tv_sec + time.tv_usec * 1e-6; }

}  // namespace

absl::StatusOr<WorkerProcess> WorkerProcess::Spawn(const Options& options) {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
    return ErrnoStatus(errno, "create the control socket of the worker");
  }
  WorkerProcess worker;
  worker.control_ = Fd(sockets[0]);
  const Fd child_control(sockets[1]);
  fcntl(worker.control_.get(), F_SETFL, O_NONBLOCK);
  ASSIGN_OR_RETURN(Pipe log, Pipe::Open());
  worker.log_ = std::move(log.read_end);
  ASSIGN_OR_RETURN(
      const pid_t pid,
      SpawnProcess({.argv = {options.worker_path, "attempt", "--attempt-dir", options.attempt_dir,
                             "--control-fd", std::to_string(kControlFd)},
                    .fds = {-1, log.write_end.get(), log.write_end.get(), child_control.get(),
                            options.run_lock_fd},
                    .group = ProcessGroup::kInherit}));
  worker.reaped_ = false;
  // The child is not reaped yet, so /proc has its entry even if it has already exited.
  absl::StatusOr<internal::ProcessId> id = IdentifyProcess(pid);
  if (id.ok()) {
    worker.id_ = *std::move(id);
  } else {
    worker.id_.set_pid(pid);
    worker.id_.set_boot_id(BootId());
  }
  RaiseOomScore(pid);
  return worker;
}

absl::Status WorkerProcess::Send(internal::RequestedAction action) {
  if (commands_closed_) {
    return absl::UnavailableError(
        "the shim was terminated and has already requested a checkpoint "
        "and an exit");
  }
  internal::WorkerCommand command;
  command.set_action(action);
  const std::string payload = command.SerializeAsString();
  const uint32_t length = static_cast<uint32_t>(payload.size());
  std::string frame;
  for (int shift = 0; shift < 32; shift += 8) frame.push_back(static_cast<char>(length >> shift));
  frame += payload;
  const ssize_t n = send(control_.get(), frame.data(), frame.size(), MSG_NOSIGNAL);
  if (n == static_cast<ssize_t>(frame.size())) return absl::OkStatus();
  if (n < 0 && errno == EPIPE) return absl::UnavailableError("the worker is exiting");
  // The kernel queues a frame of a few bytes completely or not at all.
  return absl::UnavailableError("the worker does not read its commands");
}

void WorkerProcess::CloseCommands() {
  commands_closed_ = true;
  shutdown(control_.get(), SHUT_WR);
}

void WorkerProcess::Kill(int signal) {
  // Not reaped: the pid is still this child's.
  if (!reaped_) kill(id_.pid(), signal);
}

std::optional<WorkerProcess::End> WorkerProcess::Reap() {
  if (reaped_) return std::nullopt;
  int status = 0;
  rusage usage{};
  if (wait4(id_.pid(), &status, WNOHANG, &usage) != id_.pid()) return std::nullopt;
  reaped_ = true;
  End end;
  if (WIFEXITED(status)) end.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) {
    end.signal = WTERMSIG(status);
    end.core_dumped = WCOREDUMP(status);
  }
  end.user_cpu_seconds = Seconds(usage.ru_utime);
  end.system_cpu_seconds = Seconds(usage.ru_stime);
  end.memory_peak_bytes = static_cast<int64_t>(usage.ru_maxrss) * 1024;
  return end;
}

}  // namespace trainerd::server
