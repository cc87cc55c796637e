// SPDX-License-Identifier: Apache-2.0
// posix_spawn with two pipes and one poll loop; whatever goes wrong, the child is killed and reaped
// before the return.
#include "server/runs/child_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "proto/base/atomic_file.h"
#include "proto/base/status_macros.h"

extern char** environ;

namespace trainerd::server {
namespace {

constexpr int kInputFd = 3;

// Closes at the end of its scope.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  ~Fd() { Reset(-1); }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  void Reset(int fd) {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

// Above the numbers that the child's descriptors get.
int High(int fd) {
  const int moved = fcntl(fd, F_DUPFD_CLOEXEC, 10);
  close(fd);
  return moved;
}

absl::Status MakePipe(Fd* read_end, Fd* write_end) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return ErrnoStatus(errno, "make a pipe");
  read_end->Reset(fds[0]);
  write_end->Reset(High(fds[1]));
  fcntl(read_end->get(), F_SETFL, O_NONBLOCK);
  return absl::OkStatus();
}

absl::Status MakeInput(const std::string& contents, Fd* fd) {
  fd->Reset(High(memfd_create("input", MFD_CLOEXEC)));
  if (fd->get() < 0) return ErrnoStatus(errno, "make a memory file");
  size_t written = 0;
  while (written < contents.size()) {
    const ssize_t n = pwrite(fd->get(), contents.data() + written, contents.size() - written,
                             static_cast<off_t>(written));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return ErrnoStatus(errno, "fill a memory file");
    written += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::StatusOr<pid_t> Spawn(const ChildOptions& options, int input, int out, int err) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  if (input >= 0) posix_spawn_file_actions_adddup2(&actions, input, kInputFd);
  posix_spawn_file_actions_addclosefrom_np(&actions, input >= 0 ? kInputFd + 1 : kInputFd);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  std::vector<char*> argv;
  for (const std::string& argument : options.argv) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return ErrnoStatus(error, "start " + options.argv[0]);
  return pid;
}

// Appends what can be read now; false at the end.
bool ReadSome(int fd, std::string* out) {
  char buffer[64 << 10];
  const ssize_t n = read(fd, buffer, sizeof(buffer));
  if (n > 0) out->append(buffer, static_cast<size_t>(n));
  return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

// Reads both pipes to their ends.
absl::Status Collect(const ChildOptions& options, int out_fd, int err_fd, ChildResult* result) {
  const absl::Time deadline = absl::Now() + options.timeout;
  bool out_open = true, err_open = true;
  while (out_open || err_open) {
    const int64_t left = absl::ToInt64Milliseconds(deadline - absl::Now());
    if (left <= 0) {
      return absl::DeadlineExceededError(absl::StrCat(options.argv[0], " did not end within ",
                                                      absl::FormatDuration(options.timeout)));
    }
    pollfd fds[] = {{out_open ? out_fd : -1, POLLIN, 0}, {err_open ? err_fd : -1, POLLIN, 0}};
    if (poll(fds, 2, static_cast<int>(std::min<int64_t>(left, 3600 * 1000))) < 0) continue;
    if (fds[0].revents != 0) out_open = ReadSome(out_fd, &result->out);
    if (fds[1].revents != 0) err_open = ReadSome(err_fd, &result->err);
    if (result->out.size() + result->err.size() > options.max_output_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat(options.argv[0], " printed more than ", options.max_output_bytes, " bytes"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ChildResult> RunChild(const ChildOptions& options) {
  TRAINERD_CHECK(!options.argv.empty());
  Fd out_read, out_write, err_read, err_write, input;
  RETURN_IF_ERROR(MakePipe(&out_read, &out_write));
  RETURN_IF_ERROR(MakePipe(&err_read, &err_write));
  if (!options.input.empty()) RETURN_IF_ERROR(MakeInput(options.input, &input));
  ASSIGN_OR_RETURN(const pid_t pid, Spawn(options, input.get(), out_write.get(), err_write.get()));
  out_write.Reset(-1);
  err_write.Reset(-1);
  ChildResult result;
  const absl::Status status = Collect(options, out_read.get(), err_read.get(), &result);
  // The group is the child's own: what it started goes with it.
  if (!status.ok()) kill(-pid, SIGKILL);
  int wait_status = 0;
  while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR) {
  }
  RETURN_IF_ERROR(status);
  if (WIFSIGNALED(wait_status)) {
    result.exit_code = -1;
    result.signal = WTERMSIG(wait_status);
  } else {
    result.exit_code = WEXITSTATUS(wait_status);
  }
  return result;
}

}  // namespace trainerd::server
