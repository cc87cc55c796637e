// SPDX-License-Identifier: Apache-2.0
#include "proto/base/process/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
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
constexpr absl::Duration kCancelPoll = absl::Milliseconds(100);

// All that a child needs to become its program.
struct ChildPlan {
  const SpawnOptions& options;
  char* const* argv;
  // sources[N] becomes descriptor N; -1 = /dev/null. Above the child's numbers, so that no dup2
  // overwrites the source of a later one.
  const std::vector<int>& sources;
  pid_t caller;
  // Receives the errno of what failed. Closed by execve.
  int error_fd;
};

// 0, or the errno of what failed.
int SetDescriptors(const ChildPlan& plan) {
  const int count = static_cast<int>(plan.sources.size());
  for (int number = 0; number < count; ++number) {
    const int source = plan.sources[static_cast<size_t>(number)];
    if (source >= 0) {
      if (dup2(source, number) < 0) return errno;
      continue;
    }
    const int null = open("/dev/null", O_RDWR);
    if (null < 0) return errno;
    if (null != number) {
      if (dup2(null, number) < 0) return errno;
      close(null);
    }
  }
  if (close_range(static_cast<unsigned>(count), ~0U, CLOSE_RANGE_CLOEXEC) == 0) return 0;
  // Linux before 5.11.
  const long limit = sysconf(_SC_OPEN_MAX);
  for (int fd = count; fd < limit; ++fd) fcntl(fd, F_SETFD, FD_CLOEXEC);
  return 0;
}

// 0, or the errno of what failed.
int SetUpChild(const ChildPlan& plan) {
  const SpawnOptions& options = plan.options;
  if (options.group == ProcessGroup::kOwn && setpgid(0, 0) != 0) return errno;
  if (options.group == ProcessGroup::kOwnSession && setsid() < 0) return errno;
  if (options.ends_with_caller) {
    if (prctl(PR_SET_PDEATHSIG, options.caller_end_signal) != 0) return errno;
    // It may have ended before the call above.
    if (getppid() != plan.caller) return ECHILD;
  }
  if (const int error = SetDescriptors(plan); error != 0) return error;
  const std::string& folder = options.working_directory;
  if (!folder.empty() && chdir(folder.c_str()) != 0) return errno;
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  // Fails for SIGKILL and SIGSTOP, which always have their default.
  for (int number = 1; number < NSIG; ++number) sigaction(number, &action, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  return 0;
}

// Shares the caller's memory until execve: makes system calls only.
[[noreturn]] void RunChild(const ChildPlan& plan) {
  int error = SetUpChild(plan);
  if (error == 0) {
    execve(plan.argv[0], plan.argv, environ);
    error = errno;
  }
  (void)!write(plan.error_fd, &error, sizeof(error));
  _exit(127);
}

// vfork copies no page tables: a child costs the same however large the caller is.
pid_t StartChild(const ChildPlan& plan) {
  const pid_t pid = vfork();
  if (pid == 0) RunChild(plan);
  return pid;
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

absl::Status CheckTime(const RunOptions& options, absl::Time deadline) {
  if (options.is_cancelled != nullptr && options.is_cancelled())
    return absl::CancelledError(absl::StrCat(options.argv[0], " was cancelled"));
  return SteadyNow() >= deadline ? TimedOut(options) : absl::OkStatus();
}

// Reads both pipes to their ends.
absl::Status Collect(const RunOptions& options, absl::Time deadline, int out_fd, int err_fd,
                     ProcessResult* result) {
  bool out_open = true, err_open = true;
  while (out_open || err_open) {
    RETURN_IF_ERROR(CheckTime(options, deadline));
    const absl::Duration most = options.is_cancelled != nullptr ? kCancelPoll : absl::Hours(1);
    const int wait_ms = static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(
        std::clamp(deadline - SteadyNow(), absl::ZeroDuration(), most), absl::Milliseconds(1))));
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
    RETURN_IF_ERROR(CheckTime(options, deadline));
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

absl::StatusOr<Fd> MemoryFile(const std::string& contents) {
  Fd fd(memfd_create("input", MFD_CLOEXEC));
  if (!fd.is_open()) return ErrnoStatus(errno, "create a memory file");
  RETURN_IF_ERROR(WriteAll(fd.get(), contents, "a memory file"));
  // The child reads from the beginning.
  if (lseek(fd.get(), 0, SEEK_SET) < 0) return ErrnoStatus(errno, "rewind a memory file");
  return fd;
}

absl::StatusOr<pid_t> SpawnProcess(const SpawnOptions& options) {
  TRAINERD_CHECK(!options.argv.empty() && options.fds.size() >= 3);
  const int count = static_cast<int>(options.fds.size());
  std::vector<Fd> owned;
  std::vector<int> sources;
  for (const int fd : options.fds) {
    if (fd >= 0) {
      owned.emplace_back(fcntl(fd, F_DUPFD_CLOEXEC, count));
      if (!owned.back().is_open()) return ErrnoStatus(errno, "duplicate a descriptor");
    }
    sources.push_back(fd >= 0 ? owned.back().get() : -1);
  }
  std::vector<char*> argv;
  for (const std::string& argument : options.argv) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  ASSIGN_OR_RETURN(Pipe errors, Pipe::Open());
  const Fd error_fd(fcntl(errors.write_end.get(), F_DUPFD_CLOEXEC, count));
  if (!error_fd.is_open()) return ErrnoStatus(errno, "duplicate a descriptor");
  // A handler of the caller must not run in the child, which shares its memory.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = StartChild({.options = options,
                                .argv = argv.data(),
                                .sources = sources,
                                .caller = getpid(),
                                .error_fd = error_fd.get()});
  const int fork_error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return ErrnoStatus(fork_error, "cannot start " + options.argv[0]);
  // The child has called execve or failed: either way nothing more is written.
  int error = 0;
  if (read(errors.read_end.get(), &error, sizeof(error)) != sizeof(error)) return pid;
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return ErrnoStatus(error, "cannot start " + options.argv[0]);
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
                     .group = options.group,
                     .ends_with_caller = true};
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
