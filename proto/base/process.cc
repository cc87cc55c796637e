// SPDX-License-Identifier: Apache-2.0
#include "proto/base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/base/atomic_file.h"
#include "proto/base/format.h"
#include "proto/base/status_macros.h"
#include "proto/base/time.h"

extern char** environ;

namespace trainerd {
namespace {

// Between two checks whether a child that closed its output has exited.
constexpr absl::Duration kExitPoll = absl::Milliseconds(2);

// What posix_spawn does in the child.
class SpawnActions {
 public:
  SpawnActions() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnActions() {
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
  }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;

  void ResetSignals(ProcessGroup group) {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    if (group == ProcessGroup::kOwn) flags |= POSIX_SPAWN_SETPGROUP;
    if (group == ProcessGroup::kOwnSession) flags |= POSIX_SPAWN_SETSID;
    posix_spawnattr_setflags(&attributes, static_cast<short>(flags));
  }

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

absl::StatusOr<Fd> MemoryFile(const std::string& contents) {
  Fd fd(memfd_create("input", MFD_CLOEXEC));
  if (!fd.is_open()) return ErrnoStatus(errno, "create a memory file");
  RETURN_IF_ERROR(WriteAll(fd.get(), contents, "a memory file"));
  // The child reads from the beginning.
  if (lseek(fd.get(), 0, SEEK_SET) < 0) return ErrnoStatus(errno, "rewind a memory file");
  return fd;
}

// Appends what can be read now. False at the end of the file.
bool ReadSome(int fd, std::string* out) {
  char buffer[64 << 10];
  const ssize_t n = read(fd, buffer, sizeof(buffer));
  if (n > 0) out->append(buffer, static_cast<size_t>(n));
  return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

absl::Status TimedOut(const RunOptions& options) {
  return absl::DeadlineExceededError(absl::StrCat(options.argv[0], " did not exit within ",
                                                  absl::FormatDuration(options.timeout),
                                                  " and was killed"));
}

// Reads both pipes to their ends.
absl::Status Collect(const RunOptions& options, absl::Time deadline, int out_fd, int err_fd,
                     ProcessResult* result) {
  bool out_open = true, err_open = true;
  while (out_open || err_open) {
    const absl::Duration left = deadline - SteadyNow();
    if (left <= absl::ZeroDuration()) return TimedOut(options);
    const int wait_ms = static_cast<int>(absl::ToInt64Milliseconds(
        absl::Ceil(std::min(left, absl::Hours(1)), absl::Milliseconds(1))));
    pollfd fds[] = {{out_open ? out_fd : -1, POLLIN, 0}, {err_open ? err_fd : -1, POLLIN, 0}};
    if (poll(fds, 2, wait_ms) < 0) continue;
    if (fds[0].revents != 0) out_open = ReadSome(out_fd, &result->out);
    if (fds[1].revents != 0) err_open = ReadSome(err_fd, &result->err);
    if (result->out.size() + result->err.size() > options.max_output_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat(options.argv[0], " wrote more than ",
                       FormatBytes(static_cast<int64_t>(options.max_output_bytes)),
                       " of output and was killed"));
    }
  }
  return absl::OkStatus();
}

// A child may close its output long before it exits.
absl::Status WaitUntil(const RunOptions& options, absl::Time deadline, pid_t pid,
                       int* wait_status) {
  while (true) {
    const pid_t reaped = waitpid(pid, wait_status, WNOHANG);
    if (reaped == pid) return absl::OkStatus();
    if (reaped < 0 && errno != EINTR) return ErrnoStatus(errno, "wait for " + options.argv[0]);
    if (SteadyNow() >= deadline) return TimedOut(options);
    absl::SleepFor(kExitPoll);
  }
}

}  // namespace

absl::StatusOr<Pipe> Pipe::Open() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return ErrnoStatus(errno, "create a pipe");
  Pipe pipe{.read_end = Fd(fds[0]), .write_end = Fd(fds[1])};
  fcntl(pipe.read_end.get(), F_SETFL, O_NONBLOCK);
  return pipe;
}

absl::StatusOr<pid_t> SpawnProcess(const SpawnOptions& options) {
  TRAINERD_CHECK(!options.argv.empty() && options.fds.size() >= 3);
  const int count = static_cast<int>(options.fds.size());
  SpawnActions spawn;
  spawn.ResetSignals(options.group);
  // Above the child's numbers, so that no dup2 overwrites the source of a later one.
  std::vector<Fd> sources;
  for (int number = 0; number < count; ++number) {
    if (options.fds[number] < 0) {
      posix_spawn_file_actions_addopen(&spawn.actions, number, "/dev/null", O_RDWR, 0);
      continue;
    }
    sources.emplace_back(fcntl(options.fds[number], F_DUPFD_CLOEXEC, count));
    if (!sources.back().is_open()) return ErrnoStatus(errno, "duplicate a descriptor");
    posix_spawn_file_actions_adddup2(&spawn.actions, sources.back().get(), number);
  }
  posix_spawn_file_actions_addclosefrom_np(&spawn.actions, count);
  if (!options.working_directory.empty()) {
    posix_spawn_file_actions_addchdir_np(&spawn.actions, options.working_directory.c_str());
  }
  std::vector<char*> argv;
  for (const std::string& argument : options.argv) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, argv[0], &spawn.actions, &spawn.attributes, argv.data(), environ);
  if (error != 0) return ErrnoStatus(error, "cannot start " + options.argv[0]);
  return pid;
}

ProcessExit ProcessExit::FromWaitStatus(int wait_status) {
  if (WIFSIGNALED(wait_status)) return {.code = -1, .signal = WTERMSIG(wait_status)};
  return {.code = WEXITSTATUS(wait_status)};
}

std::string ProcessExit::ToString() const {
  return signal != 0 ? absl::StrCat("signal ", signal, " (", strsignal(signal), ")")
                     : absl::StrCat("exit code ", code);
}

absl::StatusOr<ProcessResult> RunProcess(const RunOptions& options) {
  ASSIGN_OR_RETURN(Pipe out, Pipe::Open());
  ASSIGN_OR_RETURN(Pipe err, Pipe::Open());
  SpawnOptions spawn{.argv = options.argv,
                     .fds = {-1, out.write_end.get(), err.write_end.get()},
                     .group = options.group};
  Fd input;
  if (!options.input.empty()) {
    ASSIGN_OR_RETURN(input, MemoryFile(options.input));
    spawn.fds.push_back(input.get());
  }
  const absl::Time deadline = SteadyNow() + options.timeout;
  ASSIGN_OR_RETURN(const pid_t pid, SpawnProcess(spawn));
  out.write_end.Reset();
  err.write_end.Reset();
  ProcessResult result;
  int wait_status = 0;
  absl::Status status = Collect(options, deadline, out.read_end.get(), err.read_end.get(), &result);
  if (status.ok()) status = WaitUntil(options, deadline, pid, &wait_status);
  if (!status.ok()) {
    kill(options.group == ProcessGroup::kInherit ? pid : -pid, SIGKILL);
    while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR) {
    }
    return status;
  }
  result.exit = ProcessExit::FromWaitStatus(wait_status);
  return result;
}

}  // namespace trainerd
