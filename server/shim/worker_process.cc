// SPDX-License-Identifier: Apache-2.0
// posix_spawn with exactly five descriptors: null, pipe, pipe, control socket (3), run.lock (4).
#include "server/shim/worker_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"
#include "proto/contract/run_dir/process_id.h"

extern char** environ;

namespace trainerd::server {
namespace {

constexpr int kControlFd = 3;
constexpr int kRunLockFd = 4;
// Makes the kernel's OOM killer prefer the worker to the daemon and the shim. The default is 0; a
// process with 1000 is killed first.
constexpr char kOomScoreAdjust[] = "300";

// Moves a descriptor above the child's descriptors, so that no dup2 overwrites a source.
int MoveHigh(int fd) {
  const int moved = fcntl(fd, F_DUPFD_CLOEXEC, 10);
  close(fd);
  return moved;
}

void RaiseOomScore(pid_t pid) {
  const std::string path = absl::StrCat("/proc/", pid, "/oom_score_adj");
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  // Without the permission, the kernel's own choice stays.
  if (write(fd, kOomScoreAdjust, std::strlen(kOomScoreAdjust)) < 0) errno = 0;
  close(fd);
}

absl::StatusOr<pid_t> SpawnWith(const WorkerProcess::Options& options, int control_fd,
                                int pipe_fd) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, pipe_fd, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, pipe_fd, STDERR_FILENO);
  // The lock first: its descriptor is not moved high and can be kControlFd.
  posix_spawn_file_actions_adddup2(&actions, options.run_lock_fd, kRunLockFd);
  posix_spawn_file_actions_adddup2(&actions, control_fd, kControlFd);
  posix_spawn_file_actions_addclosefrom_np(&actions, kRunLockFd + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGPIPE}) sigaddset(&defaults, signal);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  std::string arguments[] = {options.worker_path, "attempt",      "--attempt-dir",
                             options.attempt_dir, "--control-fd", std::to_string(kControlFd)};
  char* argv[] = {arguments[0].data(),
                  arguments[1].data(),
                  arguments[2].data(),
                  arguments[3].data(),
                  arguments[4].data(),
                  arguments[5].data(),
                  nullptr};
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, options.worker_path.c_str(), &actions, &attributes, argv, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return ErrnoStatus(error, "start the worker " + options.worker_path);
  return pid;
}

double Seconds(const timeval& time) { return time.tv_sec + time.tv_usec * 1e-6; }

}  // namespace

absl::StatusOr<WorkerProcess> WorkerProcess::Spawn(const Options& options) {
  int control[2], log[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) != 0) {
    return ErrnoStatus(errno, "make the worker's control socket");
  }
  if (pipe2(log, O_CLOEXEC) != 0) {
    const int error = errno;
    close(control[0]);
    close(control[1]);
    return ErrnoStatus(error, "make the worker's log pipe");
  }
  const int child_control = MoveHigh(control[1]);
  const int child_log = MoveHigh(log[1]);
  absl::StatusOr<pid_t> pid = SpawnWith(options, child_control, child_log);
  close(child_control);
  close(child_log);
  WorkerProcess worker;
  worker.control_fd_ = control[0];
  worker.log_fd_ = log[0];
  if (!pid.ok()) {
    worker.reaped_ = true;
    return pid.status();
  }
  fcntl(worker.control_fd_, F_SETFL, O_NONBLOCK);
  fcntl(worker.log_fd_, F_SETFL, O_NONBLOCK);
  // The child is not reaped yet, so its entry in /proc exists even if it has exited.
  absl::StatusOr<internal::ProcessId> id = IdentifyProcess(*pid);
  if (id.ok()) {
    worker.id_ = *std::move(id);
  } else {
    worker.id_.set_pid(*pid);
    worker.id_.set_boot_id(BootId());
  }
  RaiseOomScore(*pid);
  return worker;
}

WorkerProcess::WorkerProcess(WorkerProcess&& other) noexcept
    : id_(std::move(other.id_)),
      control_fd_(std::exchange(other.control_fd_, -1)),
      log_fd_(std::exchange(other.log_fd_, -1)),
      commands_closed_(other.commands_closed_),
      reaped_(other.reaped_) {}

WorkerProcess::~WorkerProcess() {
  if (control_fd_ >= 0) close(control_fd_);
  if (log_fd_ >= 0) close(log_fd_);
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
  const ssize_t n = send(control_fd_, frame.data(), frame.size(), MSG_NOSIGNAL);
  if (n == static_cast<ssize_t>(frame.size())) return absl::OkStatus();
  if (n < 0 && errno == EPIPE) return absl::UnavailableError("the worker is exiting");
  // The kernel queues a frame of a few bytes completely or not at all.
  return absl::UnavailableError("the worker does not read its commands");
}

void WorkerProcess::CloseCommands() {
  commands_closed_ = true;
  shutdown(control_fd_, SHUT_WR);
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
