// SPDX-License-Identifier: Apache-2.0
// Child processes: start one with exactly the descriptors that it needs, or run one to its end with
// a deadline and bounded output.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/base/fd.h"

namespace trainerd {

// pipe(2). Close-on-exec; the read end does not block.
struct Pipe {
  static absl::StatusOr<Pipe> Open();
  Fd read_end, write_end;
};

enum class ProcessGroup {
  // Receives the signals of the caller's terminal, for example Ctrl-C.
  kInherit,
  kOwn,
  // As kOwn, without a controlling terminal: setsid(2).
  kOwnSession,
};

struct SpawnOptions {
  // argv[0] is the path of the program; PATH is not searched.
  std::vector<std::string> argv;
  // fds[N] becomes the child's descriptor N; -1 = /dev/null. The child inherits no other one. The
  // caller keeps its own descriptors. At least 3 entries.
  std::vector<int> fds = {-1, -1, -1};
  ProcessGroup group = ProcessGroup::kOwn;
  // Empty = the caller's.
  std::string working_directory;
  // The kernel sends it `caller_end_signal` when the calling thread ends, also if by kill -9.
  bool ends_with_caller = false;
  int caller_end_signal = SIGKILL;
};

// Starts a child with the caller's environment, no blocked signals and default signal handlers.
// The caller reaps it. Errors: NotFound, PermissionDenied and others by errno, with the path.
absl::StatusOr<pid_t> SpawnProcess(const SpawnOptions& options);

// A file in memory with these contents, read from its beginning: for the input of a child.
absl::StatusOr<Fd> MemoryFile(const std::string& contents);

// How a process ended.
struct ProcessExit {
  // Decodes a status of waitpid(2).
  static ProcessExit FromWaitStatus(int wait_status);
  // "exit code 3" or "signal 9 (Killed)".
  std::string ToString() const;

  // -1 if `signal` ended the process.
  int code = 0;
  int signal = 0;
};

// Path at which a child of RunProcess reads RunOptions::input.
inline constexpr char kChildInputPath[] = "/proc/self/fd/3";

struct RunOptions {
  std::vector<std::string> argv;
  absl::Duration timeout = absl::Seconds(30);
  // Limit on stdout and stderr together.
  size_t max_output_bytes = 16 << 20;
  // If not empty: contents of a memory file that the child can open at kChildInputPath.
  std::string input;
  ProcessGroup group = ProcessGroup::kOwn;
  // Called every 0.1 s by the calling thread; true ends the child. Null = never.
  std::function<bool()> is_cancelled;
};

struct ProcessResult {
  ProcessExit exit;
  std::string out, err;
};

// Runs a program with /dev/null as stdin and waits for its end. On an error the child (unless
// kInherit: with its process group) is killed. It is always reaped, and it does not outlive the
// caller. Errors: those of SpawnProcess; DeadlineExceeded; Cancelled; ResourceExhausted for too
// much output.
absl::StatusOr<ProcessResult> RunProcess(const RunOptions& options);

}  // namespace trainerd
